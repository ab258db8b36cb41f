//! The author of what is committed inside.

use agentkernel_model::{Error, Result, command::EnvVar, text::printable};

/// The author of commits that are made inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitIdentity {
    name: String,
    email: String,
}

impl GitIdentity {
    const LONGEST: usize = 256;

    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`] when a part is empty, longer than 256 bytes or has control characters.
    pub fn new(name: &str, email: &str) -> Result<Self> {
        for (what, text) in [("a name", name), ("an address", email)] {
            Self::check(what, text)?;
        }
        Ok(Self { name: name.to_owned(), email: email.to_owned() })
    }

    pub(crate) fn check(what: &str, text: &str) -> Result<()> {
        if text.trim().is_empty() || text.len() > Self::LONGEST || text.contains(char::is_control) {
            return Err(Error::invalid(format!("'{}' is not {what} of an author", printable(text)))
                .with_hint("write one line of at most 256 bytes"));
        }
        Ok(())
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The variables by which git takes it, whatever its configuration files say: settings number `from` and the next.
    pub(crate) fn variables(&self, from: u16) -> Result<Vec<EnvVar>> {
        let mut variables = vec![EnvVar::new("GIT_CONFIG_COUNT", &(u32::from(from) + 2).to_string())?];
        for (index, (key, value)) in
            [("user.name", &self.name), ("user.email", &self.email)].into_iter().enumerate()
        {
            let number = usize::from(from) + index;
            variables.push(EnvVar::new(&format!("GIT_CONFIG_KEY_{number}"), key)?);
            variables.push(EnvVar::new(&format!("GIT_CONFIG_VALUE_{number}"), value)?);
        }
        Ok(variables)
    }
}
