use super::*;
use crate::oci::catalogue::{RECIPES, find};

#[test]
fn every_recipe_has_a_reference_a_path_and_a_top_without_clashes() {
    let dir = tempfile::tempdir().unwrap();
    for (index, recipe) in RECIPES.iter().enumerate() {
        let reference: agentkernel_model::image::Reference = recipe.name.parse().unwrap();
        assert_eq!(reference.to_string(), recipe.name);
        assert!(recipe.env.iter().any(|(key, _)| *key == "PATH"), "{}", recipe.name);
        let mut layer = LayerWriter::create(dir.path().join(index.to_string())).unwrap();
        top(&mut layer, recipe).unwrap();
        for program in recipe.entrypoint {
            assert!(layer.has(&format!("usr/local/bin/{program}")), "{}: {program}", recipe.name);
        }
    }
}

#[test]
fn a_recipe_is_found_by_its_name_or_its_repository() {
    assert_eq!(find("python:3.12-alpine").unwrap().name, "python:3.12-alpine");
    assert_eq!(find("lua").unwrap().name, "nickblah/lua:5.4-alpine");
    let error = find("pythn:3.12-alpine").unwrap_err();
    assert_eq!(error.hint(), Some("did you mean 'python:3.12-alpine'?"));
}

/// A builder whose apt is never asked.
fn builder(cache: &Path) -> Builder {
    fs::create_dir_all(cache.join("apt/lists")).unwrap();
    fs::write(cache.join("apt/lists/debian_Packages"), "").unwrap();
    Builder::open(cache).unwrap()
}

#[test]
fn a_layer_in_the_cache_counts_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(dir.path());
    let content = Content::Skeleton { busybox: None };
    assert_eq!(builder.find(&content), None);
    let layer = builder.make(&content).unwrap();
    assert_eq!(builder.find(&content), Some(layer.clone()));
    assert_eq!(builder.find(&Content::Packages(&[])), None);
    fs::write(&layer.path, "short").unwrap();
    assert_eq!(builder.find(&content), None);
    assert_eq!(builder.make(&content).unwrap(), layer);
}

#[test]
fn a_plan_is_kept_until_the_index_of_packages_changes() {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(dir.path());
    // An image of nothing asks apt for nothing, which shows that a plan is written and read.
    let recipe = Recipe { base: Base::Plain, layers: &[], ..RECIPES[0] };
    assert!(builder.plan(&recipe).unwrap().layers.is_empty());
    let plans = || fs::read_dir(dir.path().join("plans")).unwrap().count();
    assert_eq!(plans(), 1);
    builder.plan(&recipe).unwrap();
    assert_eq!(plans(), 1);
    fs::write(dir.path().join("apt/lists/debian_Packages"), "more").unwrap();
    builder.plan(&recipe).unwrap();
    assert_eq!(plans(), 2);
}

#[test]
fn an_image_of_layers_in_the_cache_needs_no_package() {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(dir.path());
    let recipe = Recipe { base: Base::Plain, layers: &[], ..RECIPES[0] };
    let contents = Plan { busybox: None, layers: Vec::new() };
    for content in contents.contents(&recipe) {
        builder.make(&content).unwrap();
    }
    let built = builder.build(&recipe).unwrap();
    assert_eq!((built.made, built.packages, built.image.children().len()), (0, 0, 2));
}
