//! Files of other programs that get a part of ours: the first byte says which file, the rest is what is in it.
#![no_main]

use agentkernel_config::plugin::{Piece, Scope, State, Target};
use agentkernel_fuzz::refused;
use agentkernel_model::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let pieces: Vec<&Piece> = [Scope::Project, Scope::Global]
        .into_iter()
        .flat_map(|scope| Target::ALL.into_iter().flat_map(move |target| target.pieces(scope)))
        .collect();
    let piece = pieces[usize::from(*which) % pieces.len()];
    match piece.merge("file", Some(text)) {
        // What was written is what is there: a second time changes nothing.
        Ok(merged) => {
            let again = piece.merge("file", Some(&merged.text)).expect("our own text is read");
            assert_eq!(again.state, State::Same, "{}", merged.text);
            assert_eq!(again.text, merged.text);
        }
        Err(error) => refused(&error, &[Kind::Config]),
    }
});
