//! Rust source as a flat list of tokens with line numbers; knows groups, `use` trees and paths, not grammar.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Ident(String),
    Punct(char),
    /// `::` as one token.
    PathSeparator,
    /// The value of a string literal (escapes kept as written).
    Text(String),
    OtherLiteral,
    Open(Delimiter),
    Close(Delimiter),
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is_ident(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Ident(own) if own == text)
    }

    pub(super) fn is_punct(&self, c: char) -> bool {
        self.kind == Kind::Punct(c)
    }

    fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(text) => Some(text),
            _ => None,
        }
    }
}

/// A path as written in code or in a `use`, with aliases of the file resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathUse {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

impl PathUse {
    /// Whether this path is `prefix` (written with `::`) or lies below it.
    pub(super) fn is_under(&self, prefix: &str) -> bool {
        let mut own = self.segments.iter().map(String::as_str);
        prefix.split("::").all(|part| own.next() == Some(part))
    }
}

/// # Errors
/// The lexer's message and line when `text` is not Rust.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, String> {
    // A shebang is not a token; inner attributes start with `#![` and are.
    let text = if text.starts_with("#!") && !text.starts_with("#![") {
        text.split_once('\n').map_or("", |(_, rest)| rest)
    } else {
        text
    };
    let stream: TokenStream = text
        .parse()
        .map_err(|error: proc_macro2::LexError| format!("line {}: {error}", error.span().start().line))?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(without_docs(tokens))
}

/// The lexer turns doc comments into `#[doc = ".."]`; a comment is never a finding.
fn without_docs(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while index < tokens.len() {
        let inner = usize::from(tokens.get(index + 1).is_some_and(|t| t.is_punct('!')));
        let open = index + 1 + inner;
        let is_doc = tokens[index].is_punct('#')
            && tokens.get(open + 1).is_some_and(|t| t.is_ident("doc"))
            && tokens.get(open + 2).is_some_and(|t| t.is_punct('='));
        if is_doc {
            index = group_end(&tokens, open);
        } else {
            kept.push(tokens[index].clone());
            index += 1;
        }
    }
    kept
}

fn flatten(stream: TokenStream, out: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                out.push(Token { kind: Kind::Open(group.delimiter()), line });
                flatten(group.stream(), out);
                out.push(Token { kind: Kind::Close(group.delimiter()), line: group.span_close().end().line });
            }
            TokenTree::Ident(ident) => {
                let text = ident.to_string();
                let text = text.strip_prefix("r#").map_or(text.clone(), str::to_owned);
                out.push(Token { kind: Kind::Ident(text), line });
            }
            TokenTree::Punct(punct) => {
                let joint = punct.as_char() == ':' && punct.spacing() == Spacing::Joint;
                let second = joint && matches!(trees.peek(), Some(TokenTree::Punct(p)) if p.as_char() == ':');
                if second {
                    trees.next();
                }
                let kind = if second { Kind::PathSeparator } else { Kind::Punct(punct.as_char()) };
                out.push(Token { kind, line });
            }
            TokenTree::Literal(literal) => {
                let kind = string_value(&literal.to_string()).map_or(Kind::OtherLiteral, Kind::Text);
                out.push(Token { kind, line });
            }
        }
    }
}

/// The inside of a string, raw, byte or C string literal.
fn string_value(literal: &str) -> Option<String> {
    let body = literal.trim_start_matches(['b', 'c', 'r']).trim_matches('#');
    body.strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
}

/// The index just behind the group that opens at `open`.
pub(super) fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Every path in `tokens`: leaves of `use` trees, and `a::b::c` and single names in code. First segments that a `use` of
/// the same file brought in are replaced by what they stand for.
pub(super) fn paths(tokens: &[Token]) -> Vec<PathUse> {
    let mut found = Vec::new();
    let mut aliases = HashMap::new();
    let mut code = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        // `impl Trait + use<'a>` is not an import.
        let bound = tokens.get(index + 1).is_some_and(|t| t.is_punct('<'));
        if tokens[index].is_ident("use") && !bound {
            index = use_tree(tokens, index + 1, &mut Vec::new(), &mut found, &mut aliases);
        } else if tokens[index].ident().is_some() && !follows_dot(tokens, index) {
            let (path, next) = code_path(tokens, index);
            code.push(path);
            index = next;
        } else {
            index += 1;
        }
    }
    for mut path in code {
        if let Some(full) = aliases.get(&path.segments[0]) {
            path.segments.splice(0..1, full.iter().cloned());
        }
        found.push(path);
    }
    found
}

/// Whether the token at `index` is a method or field; the end of a range is not.
fn follows_dot(tokens: &[Token], index: usize) -> bool {
    let dot_at = |back: usize| index.checked_sub(back).is_some_and(|i| tokens[i].is_punct('.'));
    dot_at(1) && !dot_at(2)
}

fn code_path(tokens: &[Token], start: usize) -> (PathUse, usize) {
    let mut segments = vec![tokens[start].ident().unwrap_or_default().to_owned()];
    let mut index = start + 1;
    while let (Some(Kind::PathSeparator), Some(name)) =
        (tokens.get(index).map(|t| &t.kind), tokens.get(index + 1).and_then(Token::ident))
    {
        segments.push(name.to_owned());
        index += 2;
    }
    (PathUse { segments, line: tokens[start].line }, index)
}

/// Reads one branch of a `use` tree that starts at `index`; returns the index of what ended it.
fn use_tree(
    tokens: &[Token],
    mut index: usize,
    prefix: &mut Vec<String>,
    found: &mut Vec<PathUse>,
    aliases: &mut HashMap<String, Vec<String>>,
) -> usize {
    let depth = prefix.len();
    let line = tokens.get(index).map_or(1, |t| t.line);
    while let Some(token) = tokens.get(index) {
        match &token.kind {
            Kind::PathSeparator => {}
            Kind::Ident(name) if name == "as" => {
                index += 1;
                if let Some(alias) = tokens.get(index).and_then(Token::ident) {
                    leaf(prefix, line, alias, found, aliases);
                }
                index += 1;
                break;
            }
            Kind::Ident(name) if name == "self" && depth > 0 => {}
            Kind::Ident(name) => prefix.push(name.clone()),
            Kind::Punct('*') => {
                prefix.push("*".to_owned());
            }
            Kind::Open(Delimiter::Brace) => {
                let end = group_end(tokens, index);
                let mut inner = index + 1;
                while inner + 1 < end {
                    let next = use_tree(tokens, inner, prefix, found, aliases);
                    let comma = tokens.get(next).is_some_and(|t| t.is_punct(','));
                    // Inside a macro a branch may be something else: always move on.
                    inner = (next + usize::from(comma)).max(inner + 1);
                }
                prefix.truncate(depth);
                return end;
            }
            _ => {
                let name = prefix.last().cloned().unwrap_or_default();
                leaf(prefix, line, &name, found, aliases);
                break;
            }
        }
        index += 1;
    }
    prefix.truncate(depth);
    index
}

fn leaf(
    prefix: &[String],
    line: usize,
    alias: &str,
    found: &mut Vec<PathUse>,
    aliases: &mut HashMap<String, Vec<String>>,
) {
    if prefix.is_empty() {
        return;
    }
    found.push(PathUse { segments: prefix.to_vec(), line });
    // `use a::b` inside its own crate may not shadow itself into a loop.
    if prefix.len() > 1 || prefix[0] != alias {
        aliases.insert(alias.to_owned(), prefix.to_vec());
    }
}
