//! Which traces are recorded.

use crate::Context;

/// Decides about a span that has none of this process above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether a caller's decision stands.
    follows_parent: bool,
    /// Of the traces that are nobody else's: none at 0, all at 1.
    share: f64,
}

impl Sampler {
    /// What the caller says, and all that begins here: the standard's default.
    pub const DEFAULT: Self = Self { follows_parent: true, share: 1.0 };

    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`; `None` for what is neither.
    pub(crate) fn parse(name: &str, argument: Option<&str>) -> Option<Self> {
        let (follows_parent, base) = match name.strip_prefix("parentbased_") {
            Some(base) => (true, base),
            None => (false, name),
        };
        let share = match base {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match argument {
                Some(text) => text.parse().ok().filter(|share| (0.0..=1.0).contains(share))?,
                None => 1.0,
            },
            _ => return None,
        };
        Some(Self { follows_parent, share })
    }

    /// A new span below `parent`, or a root.
    pub(crate) fn begin(self, parent: Option<Context>) -> Context {
        let context = parent.map_or_else(Context::root, Context::child);
        let is_sampled = match parent {
            Some(parent) if self.follows_parent => parent.is_sampled,
            _ => self.takes(context.trace),
        };
        Context { is_sampled, ..context }
    }

    /// By the random part of the id, so that every process of a trace comes to the same.
    #[expect(clippy::cast_precision_loss, reason = "a share of traces is no exact number")]
    fn takes(self, trace: [u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace;
        let random = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        (random as f64) < self.share * (1_u64 << 63) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_standard_are_known_and_others_are_not() {
        for name in ["always_on", "always_off", "traceidratio"] {
            assert!(Sampler::parse(name, None).is_some(), "{name}");
            assert!(Sampler::parse(&format!("parentbased_{name}"), None).is_some(), "{name}");
        }
        for (name, argument) in [("jaeger_remote", None), ("", None), ("traceidratio", Some("2"))] {
            assert_eq!(Sampler::parse(name, argument), None, "{name}");
        }
    }

    #[test]
    fn a_parent_is_followed_only_where_that_is_said() {
        let sampled = Context::root();
        let unsampled = Context { is_sampled: false, ..sampled };
        let begun = |name, parent| Sampler::parse(name, None).unwrap().begin(parent).is_sampled;
        assert!(begun("parentbased_always_off", Some(sampled)));
        assert!(!begun("parentbased_always_off", None));
        assert!(!begun("parentbased_always_on", Some(unsampled)));
        assert!(begun("always_on", Some(unsampled)));
        assert!(!begun("always_off", Some(sampled)));
    }

    #[test]
    fn a_share_of_traces_is_about_that_share() {
        let sampler = Sampler::parse("traceidratio", Some("0.25")).unwrap();
        let taken = (0..4000).filter(|_| sampler.begin(None).is_sampled).count();
        assert!((800..1200).contains(&taken), "{taken}");
    }
}
