use super::*;
use tracing::{Instrument as _, info_span};

/// What `work` leaves in the outbox.
fn recorded(sampler: Sampler, work: impl FnOnce()) -> Vec<Finished> {
    let outbox = Arc::new(Outbox::new(Outbox::SMALL));
    let recorder = Recorder::new(sampler, Arc::clone(&outbox));
    dispatcher::with_default(&Dispatch::new(recorder), work);
    outbox.take(usize::MAX)
}

fn named<'a>(spans: &'a [Finished], name: &str) -> &'a Finished {
    spans.iter().find(|span| span.name == name).unwrap()
}

#[test]
fn spans_have_their_parents() {
    let spans = recorded(Sampler::DEFAULT, || {
        let outer = info_span!("outer");
        outer.in_scope(|| {
            let inner = info_span!("inner");
            inner.in_scope(|| drop(info_span!("innermost")));
        });
        drop(outer);
        drop(info_span!("another"));
    });
    let (outer, inner) = (named(&spans, "outer"), named(&spans, "inner"));
    assert_eq!(outer.parent, None);
    assert_eq!(inner.parent, Some(outer.context.span));
    assert_eq!(named(&spans, "innermost").parent, Some(inner.context.span));
    assert_eq!(named(&spans, "another").parent, None);
    assert_ne!(named(&spans, "another").context.trace, outer.context.trace);
    assert!(outer.start > 0 && outer.end >= outer.start);
}

#[test]
fn a_span_of_another_process_can_be_the_parent() {
    let parent = Context::root();
    let spans = recorded(Sampler::DEFAULT, || {
        let span = info_span!("here");
        adopt(&span, parent);
        assert_eq!(context(&span).unwrap().trace, parent.trace);
        span.in_scope(|| assert_eq!(current(), context(&span)));
    });
    let here = named(&spans, "here");
    assert_eq!((here.context.trace, here.parent), (parent.trace, Some(parent.span)));
}

#[test]
fn what_is_not_sampled_is_named_and_not_kept() {
    let never = Sampler::parse("always_off", None).unwrap();
    let spans = recorded(never, || {
        let span = info_span!("unseen");
        assert!(context(&span).unwrap().to_string().ends_with("-00"));
        span.in_scope(|| drop(info_span!("below")));
    });
    assert_eq!(spans, []);
}

#[test]
fn an_async_step_is_below_whoever_awaits_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spans = recorded(Sampler::DEFAULT, || {
        runtime.block_on(
            async {
                let one = async { tokio::task::yield_now().await }.instrument(info_span!("one"));
                let two = async { tokio::task::yield_now().await }.instrument(info_span!("two"));
                tokio::join!(one, two);
            }
            .instrument(info_span!("all")),
        );
    });
    let all = named(&spans, "all").context.span;
    assert_eq!((named(&spans, "one").parent, named(&spans, "two").parent), (Some(all), Some(all)));
}

#[test]
fn fields_become_attributes_and_an_error_a_status() {
    let spans = recorded(Sampler::DEFAULT, || {
        let span =
            info_span!("it", otel.name = "GET /x", otel.kind = "server", status = tracing::field::Empty);
        span.record("status", 7);
        let failed = info_span!("failed", error.type = "timeout", long = "é".repeat(500));
        drop((span, failed));
    });
    let it = named(&spans, "GET /x");
    assert_eq!((it.kind, it.is_failed), (Kind::Server, false));
    assert_eq!(it.attributes, [("status".into(), Value::Int(7))]);
    let failed = named(&spans, "failed");
    assert!(failed.is_failed);
    let Value::Text(long) = &failed.attributes[1].1 else { panic!("{failed:?}") };
    assert_eq!(long.len(), 256);
}

#[test]
fn spans_of_libraries_are_none_of_ours() {
    let spans = recorded(Sampler::DEFAULT, || drop(info_span!(target: "hyper", "request", uri = "secret")));
    assert_eq!(spans, []);
}

#[test]
fn what_does_not_fit_is_lost_and_counted() {
    let outbox = Arc::new(Outbox::new(2));
    dispatcher::with_default(&Dispatch::new(Recorder::new(Sampler::DEFAULT, Arc::clone(&outbox))), || {
        for _ in 0..5 {
            drop(info_span!("one"));
        }
    });
    assert_eq!((outbox.take(9).len(), outbox.take_lost(), outbox.take_lost()), (2, 3, 0));
}

#[test]
fn a_span_goes_to_another_process_and_back() {
    let spans = recorded(Sampler::DEFAULT, || drop(info_span!("it", a = "b", c = 1, d = true)));
    let text = serde_json::to_string(&spans).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Finished>>(&text).unwrap(), spans);
}
