//! The opaque, versioned blob by which any process finds a backend's sandbox again.

use agentkernel_model::{Error, Kind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a driver wants to remember. The engine stores it and never looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverState {
    version: u32,
    json: String,
}

impl DriverState {
    /// # Errors
    /// [`Kind::Internal`] when `value` has no JSON form.
    pub fn encode(version: u32, value: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_string(value)
            .map_err(|e| Error::internal("cannot encode the state of a driver").with_source(e))?;
        Ok(Self { version, json })
    }

    /// # Errors
    /// [`Kind::Conflict`] when the blob is newer than `known`, [`Kind::Internal`] when it is damaged.
    pub fn decode<T: DeserializeOwned>(&self, known: u32) -> Result<T> {
        if self.version > known {
            return Err(Error::new(
                Kind::Conflict,
                format!("the sandbox was made by a newer version (state {}, known {known})", self.version),
            )
            .with_hint("update agentkernel"));
        }
        serde_json::from_str(&self.json)
            .map_err(|e| Error::internal("the state of a driver is damaged").with_source(e))
    }

    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }
}
