use super::*;

#[test]
fn every_verb_has_a_page_with_its_examples() {
    let mut tree = cli::tree().disable_help_subcommand(true);
    tree.build();
    let mut queue = vec![&tree];
    let mut pages = 0;
    while let Some(command) = queue.pop() {
        let page = String::from_utf8(render(command).unwrap()).unwrap();
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let title = format!(".TH \"{name}\" 1 \"\" \"agentkernel {}\" ", env!("CARGO_PKG_VERSION"));
        assert!(page.starts_with(&title), "{page}");
        for head in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXAMPLES"] {
            assert!(page.contains(head), "{name} lacks {head}:\n{page}");
        }
        queue.extend(shown(command));
        pages += 1;
    }
    assert!(pages > 10, "{pages}");
}

#[test]
fn examples_keep_their_lines_and_paragraphs_follow() {
    let text = closing("Examples:\n  one  x\n  .two\n\nFirst\nline.\n\nSecond.").to_roff();
    let expected = ".SH EXAMPLES\n.nf\none  x\n\\&.two\n.fi\n.SH NOTES\nFirst\nline.\n.PP\nSecond.\n";
    assert_eq!(text, expected);
}
