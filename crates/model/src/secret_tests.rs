use super::*;

#[test]
fn no_formatting_shows_a_value() {
    let secret = Secret::new(b"sk-ant-hidden".to_vec()).unwrap();
    assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
}

#[test]
fn values_are_bounded_and_compared() {
    assert!(Secret::new(Vec::new()).is_err());
    assert!(Secret::new(vec![b'x'; Secret::MAX]).is_ok());
    assert!(Secret::new(vec![b'x'; Secret::MAX + 1]).is_err());
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec()).unwrap();
    assert_eq!(secret("a"), secret("a"));
    assert_ne!(secret("a"), secret("b"));
    assert_ne!(secret("a"), secret("aa"));
}

#[test]
fn names_are_those_of_variables() {
    let longest = "X".repeat(SecretName::MAX);
    for good in ["A", "_x1", "ANTHROPIC_API_KEY", "db_password", &longest] {
        assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
    }
    let too_long = "X".repeat(SecretName::MAX + 1);
    for bad in ["", "1A", "MY-KEY", "A B", "A=B", "A:B", "A/B", "KÖY", "A\n", "A\0", &too_long] {
        assert!(bad.parse::<SecretName>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_value_in_the_place_of_a_name_is_not_repeated() {
    for value in ["ghp_16C7e42F292c6912E7710c838347Ae178B4a", "hf_abcdefg", "sk-ant-api03-zzz", "AIzaSyD-zz"]
    {
        let error = value.parse::<SecretName>().unwrap_err();
        let told = format!("{error} {:?} {error:?}", error.hint());
        assert!(!told.contains(value), "{told}");
    }
}
