//! The committed list of mutations: which defence stops which attempt.

/// One line: `attempt | mutation | what it proves`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutation {
    pub(crate) attempt: String,
    pub(crate) mutation: String,
    pub(crate) proves: String,
}

/// Reads the list; `#` begins a comment line.
pub(crate) fn parse(text: &str) -> Result<Vec<Mutation>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| parse_line(line).ok_or_else(|| bad(number + 1))).collect()
}

fn parse_line(line: &str) -> Option<Mutation> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [attempt, mutation, proves] = fields[..] else { return None };
    let complete = !attempt.is_empty() && !mutation.is_empty() && !proves.is_empty();
    complete.then(|| Mutation {
        attempt: attempt.to_owned(),
        mutation: mutation.to_owned(),
        proves: proves.to_owned(),
    })
}

fn bad(line: usize) -> String {
    format!("line {line} is not 'attempt | mutation | what it proves'")
}

/// What is wrong between the list and the attempts: an attempt without a mutation, a line without an attempt, a line
/// twice.
pub(crate) fn faults(list: &[Mutation], attempts: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for attempt in attempts {
        if !list.iter().any(|m| m.attempt == *attempt) {
            faults.push(format!("the attempt '{attempt}' has no mutation that proves its defence"));
        }
    }
    for (index, m) in list.iter().enumerate() {
        if !attempts.contains(&m.attempt.as_str()) {
            faults.push(format!("there is no attempt '{}'", m.attempt));
        }
        if list[..index].iter().any(|o| (&o.attempt, &o.mutation) == (&m.attempt, &m.mutation)) {
            faults.push(format!("'{} | {}' stands there twice", m.attempt, m.mutation));
        }
    }
    faults
}
