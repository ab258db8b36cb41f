use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, Trouble> {
    Settings::read(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

fn endpoint_of(variables: &[(&str, &str)]) -> Option<String> {
    read(variables).unwrap().map(|settings| settings.endpoint.to_string())
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

#[test]
fn an_endpoint_is_of_all_signals_or_of_traces() {
    assert_eq!(endpoint_of(&[]), None);
    assert_eq!(endpoint_of(&[ENDPOINT]).unwrap(), "http://127.0.0.1:4318/v1/traces");
    let below = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example/in/");
    assert_eq!(endpoint_of(&[below]).unwrap(), "https://otel.example/in/v1/traces");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/t");
    assert_eq!(endpoint_of(&[ENDPOINT, own]).unwrap(), "http://127.0.0.1:9/t");
    assert_eq!(endpoint_of(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap(), "http://localhost:4318/v1/traces");
}

#[test]
fn it_can_be_switched_off() {
    for off in
        [("OTEL_SDK_DISABLED", "true"), ("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")]
    {
        assert_eq!(endpoint_of(&[ENDPOINT, off]), None, "{off:?}");
    }
    assert!(endpoint_of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "no")]).is_some());
}

#[test]
fn what_cannot_be_is_named_and_not_repeated() {
    let wrong = [
        ("OTEL_TRACES_EXPORTER", "zipkin-sk-1234"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc-sk-1234"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:sk-1234@host/"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://sk-1234/"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "sk-1234"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "sk-1234"),
        ("OTEL_TRACES_SAMPLER", "sk-1234"),
        ("OTEL_RESOURCE_ATTRIBUTES", "sk-1234"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%zzsk-1234"),
    ];
    for (name, value) in wrong {
        let said = read(&[ENDPOINT, (name, value)]).unwrap_err().to_string();
        assert!(said.starts_with(name) && !said.contains("1234"), "{said}");
    }
}

#[test]
fn a_resource_says_what_it_is_of() {
    let of = |variables: &[(&str, &str)]| read(&[&[ENDPOINT], variables].concat()).unwrap().unwrap().resource;
    let has = |resource: &[(String, String)], key: &str| {
        let mut values = resource.iter().filter(|(own, _)| own == key).map(|(_, value)| value.clone());
        (values.next(), values.next())
    };
    assert_eq!(has(&of(&[]), "service.name"), (Some("agentkernel".to_owned()), None));
    let resource = of(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=b%2Cc")]);
    assert_eq!(has(&resource, "service.name"), (Some("a".to_owned()), None));
    assert_eq!(has(&resource, "team").0.unwrap(), "b,c");
    let resource = of(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"), ("OTEL_SERVICE_NAME", "mine")]);
    assert_eq!(has(&resource, "service.name"), (Some("mine".to_owned()), None));
}

#[test]
fn headers_are_read_and_never_shown() {
    let of = |text: &str| {
        let text = text.to_owned();
        headers(&move |name: &str| {
            (name == "OTEL_EXPORTER_OTLP_HEADERS").then(|| Zeroizing::new(text.clone()))
        })
    };
    let read = of("authorization=Bearer%20sk-1, x-team = a").unwrap();
    assert_eq!(read["authorization"], "Bearer sk-1");
    assert_eq!(read["x-team"], "a");
    assert!(!format!("{read:?}").contains("sk-1"));
    for wrong in ["sk-1", "a b=sk-1", "a=%sk-1", "a=sk-1%0a"] {
        let said = of(wrong).unwrap_err().to_string();
        assert!(!said.contains("sk-1"), "{said}");
    }
}
