//! Which image: the flag's, a named file's, or what detection found; and what happens when it cannot be had.

use agentkernel_config::Detected;
use agentkernel_model::{Error, Kind, Result, image::ImageRef};

/// An image that can be had, and a line for people when it is not the one that was detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) image: ImageRef,
    pub(crate) note: Option<String>,
}

/// `named` by a person (a flag or a file that a flag named) wins and is never replaced; a detected image falls back to
/// the built-in one.
///
/// # Errors
/// [`Kind::Unavailable`] for a named image that cannot be had; whatever `detect` fails with.
pub(crate) fn choose(named: Option<ImageRef>, detect: impl FnOnce() -> Result<Detected>) -> Result<Chosen> {
    if let Some(image) = named {
        if !can_be_had(&image) {
            return Err(Error::new(
                Kind::Unavailable,
                format!("image '{image}' cannot be had: this version has the built-in image 'host' only"),
            )
            .with_hint("write --image host to use this machine's own tools"));
        }
        return Ok(Chosen { image, note: None });
    }
    let found = detect()?;
    if can_be_had(&found.image) {
        return Ok(Chosen { image: found.image, note: None });
    }
    let note =
        format!("using image host: {} (from {}) cannot be had by this version", found.image, found.why);
    Ok(Chosen { image: ImageRef::Host, note: Some(note) })
}

/// This version pulls nothing.
fn can_be_had(image: &ImageRef) -> bool {
    *image == ImageRef::Host
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentkernel_config::Why;

    fn detected(text: &str) -> Result<Detected> {
        Ok(Detected { image: text.parse()?, why: Why::Command("npm".to_owned()) })
    }

    #[test]
    fn a_named_image_is_never_replaced() {
        let untouched = || panic!("detection ran");
        assert_eq!(choose(Some(ImageRef::Host), untouched).unwrap().note, None);
        let error = choose(Some("postgres:16".parse().unwrap()), untouched).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("'postgres:16'"));
    }

    #[test]
    fn a_detected_image_falls_back_and_says_so() {
        let chosen = choose(None, || detected("node:22-alpine")).unwrap();
        assert_eq!(chosen.image, ImageRef::Host);
        let note = "using image host: node:22-alpine (from the command 'npm') cannot be had by this version";
        assert_eq!(chosen.note.as_deref(), Some(note));
        assert_eq!(choose(None, || detected("host")).unwrap(), Chosen { image: ImageRef::Host, note: None });
    }
}
