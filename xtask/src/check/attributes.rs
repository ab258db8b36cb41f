//! No test is switched off, nothing is left to be done, and each silenced lint says why.

use super::{
    Finding,
    source::SourceFile,
    tokens::{Kind, Token, group_end},
};
use proc_macro2::Delimiter;

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tokens = &file.tokens;
    for (index, token) in tokens.iter().enumerate() {
        if let Some(inside) = attribute(tokens, index) {
            findings.extend(check_attribute(inside).map(|why| Finding::new(&file.path, token.line, why)));
        }
        let bang = tokens.get(index + 1).is_some_and(|t| t.is_punct('!'))
            && !tokens.get(index + 2).is_some_and(|t| t.is_punct('='));
        if bang && (token.is_ident("todo") || token.is_ident("unimplemented")) {
            findings.push(Finding::new(
                &file.path,
                token.line,
                "unfinished code: write it, or refuse with an error and a hint",
            ));
        }
    }
    findings
}

/// The inside of the attribute `#[..]` or `#![..]` that starts at `index`.
fn attribute(tokens: &[Token], index: usize) -> Option<&[Token]> {
    if !tokens[index].is_punct('#') {
        return None;
    }
    let open = index + 1 + usize::from(tokens.get(index + 1)?.is_punct('!'));
    (tokens.get(open)?.kind == Kind::Open(Delimiter::Bracket))
        .then(|| &tokens[open + 1..group_end(tokens, open) - 1])
}

fn check_attribute(inside: &[Token]) -> Option<&'static str> {
    let called = |name: &str| {
        inside.windows(2).position(|pair| pair[0].is_ident(name) && matches!(pair[1].kind, Kind::Open(_)))
    };
    let first = inside.first()?;
    let conditional = first.is_ident("cfg_attr");
    if first.is_ident("ignore") || (conditional && inside.iter().any(|t| t.is_ident("ignore"))) {
        return Some(
            "a test is switched off with #[ignore]: fix it, or skip it with a printed reason at run time",
        );
    }
    if !conditional && !first.is_ident("allow") && !first.is_ident("expect") {
        return None;
    }
    let at = called("allow").or_else(|| called("expect"))?;
    let lint = &inside[at + 1..group_end(inside, at + 1)];
    let reasoned = lint.windows(3).any(|w| {
        w[0].is_ident("reason")
            && w[1].is_punct('=')
            && matches!(&w[2].kind, Kind::Text(reason) if !reason.trim().is_empty())
    });
    (!reasoned).then_some("a lint is silenced without saying why: add reason = \"..\"")
}
