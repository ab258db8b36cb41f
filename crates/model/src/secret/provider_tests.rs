use super::*;
use std::collections::BTreeSet;

#[test]
fn every_row_is_sound_and_no_key_or_host_has_two_owners() {
    let (mut keys, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for provider in Provider::all() {
        assert!(provider.source().starts_with("https://"), "{}", provider.name());
        assert!(!provider.keys().is_empty() && !provider.hosts.is_empty(), "{}", provider.name());
        for key in provider.keys() {
            key.parse::<SecretName>().unwrap_or_else(|e| panic!("{key}: {e}"));
            assert!(keys.insert(*key), "{key} twice");
        }
        for Host(host, header, _) in provider.hosts {
            let parsed: HostPattern = host.parse().unwrap_or_else(|e| panic!("{host}: {e}"));
            assert_eq!(parsed.to_string(), *host);
            assert_eq!(header.parse::<HeaderName>().unwrap().as_str(), *header);
            assert!(hosts.insert(*host), "{host} twice");
        }
    }
}

#[test]
fn headers_follow_the_host_then_the_name() {
    let rows = [
        ("ANTHROPIC_API_KEY", "api.anthropic.com", "x-api-key", Shape::Raw),
        // Whatever it is called.
        ("MY_KEY", "api.anthropic.com", "x-api-key", Shape::Raw),
        ("OPENAI_API_KEY", "api.openai.com", "authorization", Shape::Bearer),
        ("GEMINI_API_KEY", "generativelanguage.googleapis.com", "x-goog-api-key", Shape::Raw),
        ("GITHUB_TOKEN", "api.github.com", "authorization", Shape::Bearer),
        ("GITHUB_TOKEN", "github.com", "authorization", Shape::Basic("x-access-token")),
        ("HF_TOKEN", "huggingface.co", "authorization", Shape::Bearer),
        ("MISTRAL_API_KEY", "api.mistral.ai", "authorization", Shape::Bearer),
        ("GROQ_API_KEY", "api.groq.com", "authorization", Shape::Bearer),
        ("COHERE_API_KEY", "api.cohere.com", "authorization", Shape::Bearer),
        ("NPM_TOKEN", "registry.npmjs.org", "authorization", Shape::Bearer),
        ("PYPI_TOKEN", "upload.pypi.org", "authorization", Shape::Basic("__token__")),
        ("AZURE_OPENAI_API_KEY", "mine.openai.azure.com", "api-key", Shape::Raw),
        ("AZURE_OPENAI_API_KEY", "*.openai.azure.com", "api-key", Shape::Raw),
        // A proxy of the company's own wants what the tools send.
        ("ANTHROPIC_API_KEY", "models.corp.example", "x-api-key", Shape::Raw),
        ("WHATEVER", "api.corp.example", "authorization", Shape::Bearer),
        // Wider than what is known.
        ("WHATEVER", "*.github.com", "authorization", Shape::Bearer),
    ];
    for (name, host, header, shape) in rows {
        let found = header_for(&name.parse().unwrap(), &host.parse().unwrap());
        assert_eq!((found.name().as_str(), found.shape()), (header, shape), "{name} {host}");
    }
}

#[test]
fn services_are_found_by_key_and_host() {
    let of_name = for_name(&"HF_TOKEN".parse().unwrap()).unwrap();
    let of_host = for_host(&"router.huggingface.co".parse().unwrap()).unwrap();
    assert_eq!((of_name.name(), of_host), ("Hugging Face", of_name));
    assert!(for_name(&"HF_TOKENS".parse().unwrap()).is_none());
    assert!(for_host(&"huggingface.co.evil.org".parse().unwrap()).is_none());
}
