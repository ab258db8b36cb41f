//! `--allow` and `--deny`: rules about connections, in the order in which they were typed.

use agentkernel_model::{
    Result,
    egress::{EgressRule, Verdict},
};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Rules of both kinds. By hand, because the order between two flags counts, which a derived struct does not keep.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleArgs {
    pub(crate) rules: Vec<EgressRule>,
}

const ALLOW: &str = "allow";
const DENY: &str = "deny";
const GRAMMAR: &str = "RULE is [METHOD[,METHOD]] [udp:]TARGET[:PORT[-PORT]][/PATH]. TARGET is a name (api.example.com), every name \
                       below one (*.example.com), addresses (10.0.0.0/8, 192.0.2.1, [2001:db8::1]), or one of public, private, \
                       host and metadata. Methods and a path make it a rule about HTTP requests to a name. With udp: before \
                       the target it is about UDP, which only such a rule lets out. Rules of both kinds \
                       are asked in the order in which they stand, before those of the configuration; the first that is about a \
                       connection decides (repeatable)";

fn flag(name: &'static str, parse: fn(&str) -> Result<EgressRule>) -> Arg {
    Arg::new(name).long(name).value_name("RULE").action(ArgAction::Append).value_parser(parse)
}

impl Args for RuleArgs {
    fn augment_args(command: Command) -> Command {
        let allow = flag(ALLOW, |text| EgressRule::parse(Verdict::Allow, text));
        let deny = flag(DENY, |text| EgressRule::parse(Verdict::Deny, text));
        command
            .arg(
                allow
                    .help("Let connections out to this name, network or kind of addresses (repeatable)")
                    .long_help(format!("Let connections out. {GRAMMAR}")),
            )
            .arg(
                deny.help("Let none out to it; of several rules the first that is about a connection decides (repeatable)")
                    .long_help(format!("Let connections not out. {GRAMMAR}")),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RuleArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut typed: Vec<(usize, EgressRule)> = Vec::new();
        for name in [ALLOW, DENY] {
            let places = matches.indices_of(name).into_iter().flatten();
            let rules = matches.get_many::<EgressRule>(name).into_iter().flatten();
            typed.extend(places.zip(rules.cloned()));
        }
        typed.sort_by_key(|(place, _)| *place);
        Ok(Self { rules: typed.into_iter().map(|(_, rule)| rule).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::RuleArgs;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rules: RuleArgs,
    }

    #[test]
    fn the_order_between_both_kinds_is_kept() {
        let words = "x --deny a.example.com --allow *.example.com --deny=public --allow 10.0.0.0/8:80";
        let line = Line::try_parse_from(words.split(' ')).unwrap();
        let shown: Vec<String> = line.rules.rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["deny a.example.com", "allow *.example.com", "deny public", "allow 10.0.0.0/8:80"]
        );
        assert!(Line::try_parse_from(["x"]).unwrap().rules.rules.is_empty());
        assert!(Line::try_parse_from(["x", "--allow", "GET 10.0.0.0/8"]).is_err());
    }
}
