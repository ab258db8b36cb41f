use super::*;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What other people wrote is what they released, and nothing lies beside it.
#[test]
fn vendored_files_are_as_they_were_released() {
    let vendor = here("assets/vendor");
    let list: Value = serde_json::from_str(&fs::read_to_string(vendor.join("vendor.json")).unwrap()).unwrap();
    let mut known = BTreeSet::from([vendor.join("vendor.json"), vendor.join("README.md")]);
    for package in list.as_array().unwrap() {
        for field in ["name", "version", "license", "integrity", "tarball"] {
            assert!(package[field].is_string(), "{field} of {package}");
        }
        for (file, hash) in package["files"].as_object().unwrap() {
            let path = vendor.join(file);
            let found = Sha256::digest(fs::read(&path).unwrap());
            let found = found.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            assert_eq!(Some(found.as_str()), hash.as_str(), "{file} was changed");
            known.insert(path);
        }
    }
    let mut places = vec![vendor];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
            } else {
                assert!(known.contains(&path), "{} is in no list", path.display());
            }
        }
    }
}

#[test]
fn every_file_of_the_page_is_served() {
    for entry in fs::read_dir(here("src/page")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let served = |asset: &&Asset| asset.path == format!("/page/{name}") || name == "index.html";
        assert!(name.ends_with(".rs") || ASSETS.iter().any(|a| served(&a)), "{name} is not served");
    }
}

/// The ways in which text becomes markup or code, and styles that the policy would refuse.
#[test]
fn text_never_becomes_markup() {
    let ways = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "srcdoc",
        "DOMParser",
        "createContextualFragment",
        "setHTML",
        "javascript:",
        " style=",
        "http://",
        "https://",
    ];
    for asset in ASSETS.iter().filter(|a| !a.path.contains("xterm") && !a.path.contains("addon")) {
        let text = std::str::from_utf8(asset.content).unwrap();
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for way in ways {
            assert!(!text.contains(way), "{} has {way}", asset.path);
        }
    }
}

#[test]
fn nothing_inline_is_allowed() {
    assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "style-src 'self'"] {
        assert!(POLICY.contains(rule), "{rule}");
    }
}

#[test]
fn what_is_known_is_not_sent_again() {
    let asset = &ASSETS[0];
    let tag = tag(asset.content);
    let mut asked = HeaderMap::new();
    assert_eq!(asset.answer(&tag, &asked).status(), StatusCode::OK);
    asked.insert(header::IF_NONE_MATCH, tag.clone());
    let known = asset.answer(&tag, &asked);
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert!(known.headers().contains_key(header::CONTENT_SECURITY_POLICY));
}
