use super::*;
use agentkernel_model::{
    policy::{EffectivePolicy, PolicyRequest},
    secret::{SecretBinding, SecretGrant},
    spec::Isolation,
};

fn spec(request: PolicyRequest) -> SandboxSpec {
    SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy: EffectivePolicy::resolve(request),
        isolation: Isolation::Any,
        lifetime: Lifetime::Ephemeral,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

#[test]
fn what_has_secrets_or_opens_tls_is_never_warm() {
    let secret = SecretGrant::from(&"KEY:api.example.com".parse::<SecretBinding>().unwrap());
    let cases = [
        (PolicyRequest::default(), true),
        (
            PolicyRequest { rules: vec!["allow example.com".parse().unwrap()], ..PolicyRequest::default() },
            true,
        ),
        (
            PolicyRequest {
                rules: vec!["deny POST example.com".parse().unwrap()],
                ..PolicyRequest::default()
            },
            false,
        ),
        (PolicyRequest { secrets: vec![secret], ..PolicyRequest::default() }, false),
        (PolicyRequest { secret_files: vec!["KEY".parse().unwrap()], ..PolicyRequest::default() }, false),
    ];
    for (request, may_be) in cases {
        let spec = spec(request);
        assert_eq!(obstacle(&spec).is_none(), may_be, "{:?}", spec.policy);
        // What arrives over the socket is held to the same.
        let facts = Some(Facts { path: Vec::new(), home: None });
        let recipe = Recipe { backend: BackendId::new("one"), spec, image: None, facts };
        assert_eq!(recipe.check().is_ok(), may_be);
    }
}
