//! One configuration over another.

use crate::Config;

fn config(text: &str) -> Config {
    Config::parse("f", text).unwrap()
}

#[test]
fn tables_merge_and_the_upper_one_wins() {
    let below = "sandbox = { runtime = 'node', ttl = '1h', labels = { a = '1', b = '2' } }\nresources.memory_mb = 64\n\
                 environment = { A = '1', B = '2' }\nbuild = { context = 'x', args = { p = '1' } }\nworkspace.path = '.'\n\
                 remote = {}\n";
    let own = "sandbox = { base_image = 'host', labels = { b = '3', c = '4' } }\nresources.memory = '1GB'\n\
               environment = { C = '3', A = '9' }\nbuild = { target = 't', args = { q = '2' } }\nworkspace.mode = 'ro'\n";
    let both = "sandbox = { base_image = 'host', ttl = '1h', labels = { a = '1', b = '3', c = '4' } }\n\
                resources.memory = '1GB'\nenvironment = { A = '9', B = '2', C = '3' }\nremote = {}\n\
                build = { context = 'x', target = 't', args = { p = '1', q = '2' } }\nworkspace = { path = '.', mode = 'ro' }\n";
    assert_eq!(config(own).over(config(below)), config(both));
}

#[test]
fn lists_are_replaced_by_an_empty_one_only_where_it_is_written() {
    let ports = "network.ports = [1, 2]";
    assert_eq!(config("network.ports = [3]").over(config(ports)), config("network.ports = [3]"));
    assert_eq!(config("").over(config(ports)), config(ports));
    assert_eq!(config("network.ports = []").over(config(ports)), config("network.ports = []"));
    // And through a third.
    let middle = config("").over(config("network.ports = []"));
    assert!(middle.over(config(ports)).ports.is_empty());
    assert_eq!(config(ports).over(config("network.ports = []")), config(ports));
    let file = "[[files]]\ndest = '/a'\ncontent = ''";
    assert!(config("files = []").over(config(file)).files.is_empty());
    let mount = "[[mounts]]\nsource = '/a'\ntarget = '/a'";
    assert!(config("mounts = []").over(config(mount)).mounts.is_empty());
    assert!(
        config("security.allow_write = []")
            .over(config("security.allow_write = ['.git']"))
            .allow_write
            .is_empty()
    );
}

#[test]
fn nothing_over_a_file_and_a_file_over_nothing_are_the_file() {
    for (_, text) in crate::template::builtin() {
        let one = config(text);
        assert_eq!(Config::default().over(one.clone()), one);
        assert_eq!(one.clone().over(Config::default()), one);
        assert_eq!(one.clone().over(one.clone()), one);
    }
}
