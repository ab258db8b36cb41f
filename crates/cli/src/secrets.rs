//! `--secret` and `--secret-file`: what was asked for, and the values, which only live in this process and a keeper.

use crate::{
    context::Context,
    hidden::Word,
    vaults::{self, VaultArgs},
};
use agentkernel_engine::{
    Engine, memory,
    request::{SandboxInfo, Status},
    values::{Source, Values},
};
use agentkernel_model::{
    Error, Kind, Result,
    name::SandboxName,
    policy::EffectivePolicy,
    secret::{Held, Origin, SecretBinding, SecretGrant, SecretName},
};
use agentkernel_trust::{Entry, Meta, Vault, VaultKind, require, resolve};
use clap::Args;

/// Flags of whoever makes a sandbox. Words are parsed late: an error of clap's would show what was written.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SecretArgs {
    /// Send a secret of the vault to a host, and to no other; the sandbox never has its value (repeatable)
    #[arg(
        short = 'S',
        long = "secret",
        value_name = "KEY[:HOST[:HEADER]]",
        long_help = "Send a secret of the vault to a host, in the header that its service wants or in HEADER alone, and reach no other \
                     host than those of secrets and rules (repeatable). The sandbox never has its value: the variable KEY holds a \
                     placeholder, and the value is put into requests outside. Without a HOST it goes to the hosts that the vault has for \
                     it. KEY=VALUE:HOST gives the value itself, which process lists and the shell's history then show"
    )]
    secret: Vec<Word>,

    /// Show a secret of the vault inside as /run/agentkernel/secrets/KEY, in memory (repeatable)
    #[arg(long, value_name = "KEY")]
    secret_file: Vec<Word>,

    #[command(flatten)]
    pub(crate) vault: VaultArgs,
}

/// Everything that a sandbox is to have of secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) bindings: Vec<SecretBinding>,
    pub(crate) files: Vec<SecretName>,
    /// Those of the bindings whose values are in the environment, which nobody has to name as a vault for them.
    pub(crate) of_environment: Vec<SecretName>,
}

impl SecretArgs {
    /// Whether secrets are sent to hosts: then nothing is let out but what is listed.
    pub(crate) const fn binds(&self) -> bool {
        !self.secret.is_empty()
    }

    /// # Errors
    /// For what is no binding or no name; nothing that was written is repeated.
    pub(crate) fn wanted(&self) -> Result<Wanted> {
        Ok(Wanted {
            bindings: bindings(&self.secret)?,
            files: self.secret_file.iter().map(|word| word.text().parse()).collect::<Result<_>>()?,
            of_environment: Vec::new(),
        })
    }
}

/// What `words` say.
///
/// # Errors
/// As [`SecretArgs::wanted`].
pub(crate) fn bindings(words: &[Word]) -> Result<Vec<SecretBinding>> {
    words.iter().map(|word| word.text().parse()).collect()
}

impl Wanted {
    /// These over those of a configuration, whose secrets of the same name they replace.
    pub(crate) fn over(mut self, bindings: Vec<SecretBinding>, files: Vec<SecretName>) -> Self {
        let below = bindings.into_iter().filter(|b| !self.bindings.iter().any(|own| own.name() == b.name()));
        let below: Vec<SecretBinding> = below.collect();
        self.bindings.splice(0..0, below);
        self.files.splice(0..0, files);
        self.files.sort();
        self.files.dedup();
        self
    }

    /// The values of all. From now on this process leaves no core file.
    ///
    /// # Errors
    /// As [`agentkernel_trust::resolve`].
    pub(crate) fn values(&self, context: &Context, vault: &VaultArgs) -> Result<Values> {
        warn(context, &self.bindings);
        self.resolved(context, vault)
    }

    /// The same for a sandbox of this process, which looks when it is there: until then nothing of a vault may be in the
    /// memory that process 1 is cloned from.
    pub(crate) fn source(&self, context: &Context, vault: &VaultArgs) -> Source {
        warn(context, &self.bindings);
        let (wanted, context, vault) = (self.clone(), context.clone(), vault.clone());
        Source::new(move || {
            memory::keep_unseen()?;
            wanted.resolved(&context, &vault)
        })
    }

    pub(crate) fn resolved(&self, context: &Context, vault: &VaultArgs) -> Result<Values> {
        if self.bindings.is_empty() && self.files.is_empty() {
            return Ok(Values::default());
        }
        memory::leave_no_core_files()?;
        let names: Vec<SecretName> =
            self.bindings.iter().map(SecretBinding::name).chain(&self.files).cloned().collect();
        let mut vaults = vault.all(context, &names);
        if !self.of_environment.is_empty() {
            vaults.push(vault.one(VaultKind::Env, context, &self.of_environment));
        }
        let asked: Vec<&dyn Vault> = vaults.iter().map(AsRef::as_ref).collect();
        let bound = resolve(&self.bindings, &asked)?;
        let file = |name: &SecretName| Ok((name.clone(), require(name, &asked)?.into_value()));
        Ok(Values { bound, files: self.files.iter().map(file).collect::<Result<_>>()? })
    }

    /// What a sandbox that is there has by `policy`, with the values that `given` has in place of a vault's. `kept` looks
    /// for those that came from a command line before.
    ///
    /// # Errors
    /// For a value that was not given and is kept nowhere, and for one that the sandbox was not made with. `again` is the
    /// command that would give one.
    fn of_policy(
        policy: &EffectivePolicy,
        given: &[SecretBinding],
        kept: impl FnOnce() -> Result<Vec<SecretBinding>>,
        again: &str,
    ) -> Result<Self> {
        refuse_strays(policy, given)?;
        let of_caller = |grant: &&SecretGrant| grant.held == Held::Caller;
        let is_given = |grant: &SecretGrant| given.iter().any(|one| fits(grant, one));
        let kept = match policy.secrets.iter().filter(of_caller).all(is_given) {
            true => Vec::new(),
            false => kept()?,
        };
        let mut bindings = Vec::with_capacity(policy.secrets.len());
        for grant in &policy.secrets {
            let own: Vec<&SecretBinding> = given.iter().filter(|one| fits(grant, one)).collect();
            match (own.as_slice(), grant.held) {
                ([], Held::Vault) => bindings.push(SecretBinding::from(grant)),
                ([], Held::Caller) => {
                    let kept = kept.iter().find(|one| fits(grant, one));
                    let kept = kept.ok_or_else(|| not_kept(grant, again))?.clone();
                    bindings.push(kept.or_header(grant.header.as_ref()));
                }
                (own, _) => {
                    let header = grant.header.as_ref();
                    bindings.extend(own.iter().map(|one| (*one).clone().or_header(header)));
                }
            }
        }
        Ok(Self { bindings, files: policy.secret_files.clone(), of_environment: Vec::new() })
    }
}

/// Whether `binding` is one that `grant` stands for.
fn fits(grant: &SecretGrant, binding: &SecretBinding) -> bool {
    grant.name == *binding.name()
        && (grant.host.is_none() || grant.host.as_ref() == binding.host())
        && binding.header().is_none_or(|header| grant.header.as_ref() == Some(header))
}

fn refuse_strays(policy: &EffectivePolicy, given: &[SecretBinding]) -> Result<()> {
    let Some(stray) = given.iter().find(|one| !policy.secrets.iter().any(|grant| fits(grant, one))) else {
        return Ok(());
    };
    let name = stray.name();
    Err(Error::invalid(format!("the sandbox was not made with secret '{name}' for that host and header"))
        .with_hint("agentkernel sandbox info NAME shows what it has; the rest is chosen when one is created"))
}

/// Refuses values that are not those of `kept`, which a sandbox that runs has.
fn refuse_new_values(
    given: &[SecretBinding],
    kept: impl FnOnce() -> Result<Vec<SecretBinding>>,
    name: &SandboxName,
) -> Result<()> {
    let is_inline = |binding: &&SecretBinding| matches!(binding.origin(), Origin::Inline(_));
    let inline: Vec<&SecretBinding> = given.iter().filter(is_inline).collect();
    if inline.is_empty() {
        return Ok(());
    }
    let kept = kept()?;
    match inline.iter().find(|one| !kept.contains(one)) {
        None => Ok(()),
        Some(new) => {
            let secret = new.name();
            let message = format!("'{name}' is running, and keeps the value of '{secret}' that it has");
            let hint = format!("leave the value out, or stop it first: agentkernel sandbox stop {name}");
            Err(Error::new(Kind::Conflict, message).with_hint(hint))
        }
    }
}

fn not_kept(grant: &SecretGrant, again: &str) -> Error {
    let (name, host) = (&grant.name, grant.host.as_ref().map(ToString::to_string));
    let host = host.unwrap_or_else(|| "HOST".to_owned());
    Error::invalid(format!("the value of secret '{name}' was on the command line, and is kept nowhere"))
        .with_hint(format!("{again} --secret {name}=VALUE:{host}"))
}

/// The values for the sandbox of `info`, which is there; none for one that runs, and has them. A record that this version cannot read has none.
///
/// # Errors
/// As [`Wanted::of_policy`] and [`Wanted::values`]; [`Kind::Conflict`] for a value that one that runs does not have.
pub(crate) fn of_existing(
    context: &Context,
    engine: &Engine,
    info: &SandboxInfo,
    given: &Wanted,
    vault: &VaultArgs,
) -> Result<Values> {
    let Some(spec) = &info.spec else { return Ok(Values::default()) };
    let policy = &spec.policy;
    if let Some(name) = given.files.iter().find(|name| !policy.secret_files.contains(name)) {
        return Err(Error::invalid(format!("the sandbox was not made with a file for secret '{name}'"))
            .with_hint("leave --secret-file out, or make another sandbox"));
    }
    refuse_strays(policy, &given.bindings)?;
    // Whatever comes in now, nothing is cloned from this process any more: a keeper is a program of its own.
    if !policy.secrets.is_empty() || !policy.secret_files.is_empty() {
        memory::keep_unseen()?;
    }
    let kept = || match engine.sealed(&info.name)? {
        None => Ok(Vec::new()),
        Some(sealed) => {
            let entries = vault.file(context, None).unseal(&info.uuid.to_string(), &sealed)?;
            Ok(entries.into_iter().filter_map(inline).collect())
        }
    };
    if info.status == Status::Running {
        return refuse_new_values(&given.bindings, kept, &info.name).map(|()| Values::default());
    }
    let again = format!("agentkernel sandbox start {}", info.name);
    Wanted::of_policy(policy, &given.bindings, kept, &again)?.resolved(context, vault)
}

/// Keeps the values that were on the command line for the next starts of the sandbox of `info`: encrypted with the key of
/// the file vault, and gone with the sandbox.
///
/// # Errors
/// As [`agentkernel_trust::FileVault::seal`].
pub(crate) async fn keep(
    context: &Context,
    engine: &Engine,
    info: &SandboxInfo,
    wanted: &Wanted,
    vault: &VaultArgs,
) -> Result<()> {
    match seal(context, info, wanted, vault)? {
        Some(sealed) => engine.keep_sealed(&info.name, &sealed).await,
        None => Ok(()),
    }
}

fn seal(
    context: &Context,
    info: &SandboxInfo,
    wanted: &Wanted,
    vault: &VaultArgs,
) -> Result<Option<Vec<u8>>> {
    let entries: Vec<Entry> =
        wanted.bindings.iter().map(entry).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    if entries.is_empty() {
        return Ok(None);
    }
    let vault = vault.file(context, None);
    let fresh = vault.protection()?.is_none();
    let sealed = vault.seal(&info.uuid.to_string(), &entries)?;
    if fresh {
        vaults::tell(context, &vault)?;
    }
    Ok(Some(sealed))
}

fn entry(binding: &SecretBinding) -> Result<Option<Entry>> {
    let Origin::Inline(value) = binding.origin() else { return Ok(None) };
    let hosts = binding.host().cloned().into_iter().collect();
    Ok(Some(Entry::new(Meta::new(binding.name().clone(), hosts, None, 0)?, value.clone())))
}

fn inline(entry: Entry) -> Option<SecretBinding> {
    let (name, host) = (entry.meta().name().clone(), entry.meta().hosts().first()?.clone());
    Some(SecretBinding::inline(name, host, entry.into_value()))
}

/// Says once that values were seen.
pub(crate) fn warn(context: &Context, bindings: &[SecretBinding]) {
    let inline = bindings.iter().find(|binding| matches!(binding.origin(), Origin::Inline(_)));
    if let Some(binding) = inline {
        let name = binding.name();
        context.printer.note(format_args!(
            "the value of '{name}' is on the command line, where process lists and the shell's history show it; \
             keep it with 'agentkernel secret set {name}'"
        ));
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
