//! What an engine is promised to do: weighed by what is remembered of it, and once more should it be another one by then.

use crate::{backend::Container, engine::Engine, mounts, plan, stream};
use agentkernel_backend::{Admitted, Backend as _, Refusal, admit};
use agentkernel_model::{
    Result, capabilities::Support, egress::EgressRules, policy::Network, spec::SandboxSpec, text::printable,
};

impl Container {
    /// What the engine, as far as it is known, says to `spec`.
    pub(crate) fn weigh(&self, spec: &SandboxSpec) -> Result<Admitted, Vec<Refusal>> {
        let mut extra = Vec::new();
        if let Some(name) = &spec.runtime {
            let known = self.known().map(|engine| engine.facts.runtimes.clone()).unwrap_or_default();
            if !known.iter().any(|runtime| runtime == name.as_str()) {
                let hint = match known.is_empty() {
                    true => "leave out --runtime".to_owned(),
                    false => format!("it has {}", known.join(", ")),
                };
                extra.push(Refusal::new(format!("the runtime '{name}', which it does not have"), hint));
            }
        }
        let mut can = self.capabilities();
        let engine = self.known().ok();
        if let Some(engine) = engine.filter(|engine| engine.is_elsewhere()) {
            extra.extend(elsewhere(engine, spec));
        }
        if let Some(engine) = engine
            && !stream::shares_kernel(plan::runtime(engine, spec))
        {
            // What such a runtime itself has of threads would count.
            can.limit_pids = Support::No;
            if matches!(spec.policy.network, Network::Rules(_)) {
                let runtime = printable(plan::runtime(engine, spec));
                extra.push(Refusal::new(
                    format!("network rules with the runtime '{runtime}', whose network cannot be redirected"),
                    "add --no-network, or another --runtime",
                ));
            }
        }
        admit::admit(&self.id(), spec, &can, extra)
    }

    /// Weighs `spec` again, which was admitted before the engine was asked what it is.
    ///
    /// # Errors
    /// When it is another one than before, which cannot do what is wanted.
    pub(crate) fn confirm(&self, spec: &SandboxSpec) -> Result<()> {
        if !self.setup.is_another() {
            return Ok(());
        }
        self.admit(spec).map(drop).map_err(|refusals| admit::refused(&self.id(), &refusals))
    }
}

/// What cannot be promised where this machine's files are not seen, beside what capabilities say.
fn elsewhere(engine: &Engine, spec: &SandboxSpec) -> Vec<Refusal> {
    let target = mounts::undeliverable(spec);
    let files = target.map(|target| {
        Refusal::new(
            format!(
                "the file {target} of the configuration, in a root that the engine at {} mounts itself",
                engine.way
            ),
            "choose another 'dest', and a profile with a writable root",
        )
    });
    // Datagrams would come through sockets of the sandbox's network, which only this kernel could hand over.
    let udp = spec.policy.rules().is_some_and(EgressRules::let_udp_out).then(|| {
        Refusal::new(
            format!("rules that let UDP out, which the container's streams at {} do not carry", engine.way),
            "leave out rules that begin with 'udp:', or use an engine of this machine",
        )
    });
    files.into_iter().chain(udp).collect()
}
