//! Floating content-addressed, impure and dynamic derivations.
//!
//! Expectations about paths are of Nix 2.34.8.

mod support;

use nixlang_build::{BuildOptions, BuildStatus, Builder, CancelToken, DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::derivation::{DerivationOutput, InputOutputs, Placeholder};
use nixlang_store::content_rules::ContentRules;
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StorePath;
use nixlang_store::realisation::DerivationOutputId;
use nixlang_store::store::Store;
use support::{Recipe, World, sh};

fn options(features: &[&str]) -> BuildOptions {
    let mut options = support::options();
    options.experimental_features = features.iter().map(|feature| (*feature).to_owned()).collect();
    options
}

/// A derivation whose outputs' paths follow from their contents.
fn floating(name: &str, script: &str) -> Recipe {
    let mut recipe = sh(name, script);
    let output = DerivationOutput::Floating { method: ContentAddressMethod::Nar, algorithm: Algorithm::Sha256 };
    recipe.derivation.outputs = [("out".into(), output)].into();
    recipe.env("out", &nixlang_store::derivation::placeholder("out"))
}

fn placeholder(derivation: &StorePath) -> String {
    Placeholder::content_addressed_output(derivation, "out").to_string()
}

fn add(world: &World, recipe: Recipe) -> StorePath {
    world.add_path(recipe)
}

fn build(world: &World, derivation: &StorePath) -> (nixlang_build::BuildOutcome, StorePath) {
    let (outcome, recorder) = world.build_with(options(&["ca-derivations"]), std::slice::from_ref(derivation));
    assert!(outcome.is_success(), "{:#?}\n{:?}", outcome.results, recorder.lines());
    let out = outcome.realised[0].outputs["out"].clone();
    (outcome, out)
}

fn world_of(rules: ContentRules) -> World {
    let scratch = tempfile::tempdir().unwrap();
    let store = LocalStore::open(LocalStoreOptions { content_rules: rules, ..LocalStoreOptions::rooted(scratch.path()) }).unwrap();
    World::at(scratch, store)
}

#[test]
fn paths_follow_from_contents_and_inputs_are_cut_off_early() {
    let made = [ContentRules::Until2_34, ContentRules::Since2_35].map(paths_follow_from_contents);
    assert_ne!(made[0], made[1], "each generation has its own path for what refers to itself");
}

/// Returns the path of something that refers to itself.
fn paths_follow_from_contents(rules: ContentRules) -> StorePath {
    let world = world_of(rules);
    let one = add(&world, floating("a", "# one\necho $out > $out"));
    let two = add(&world, floating("a", "# two\necho $out > $out"));
    assert_ne!(one, two);
    let top = |input: &StorePath| {
        let script = format!("read x < {}; echo $x > $out", placeholder(input));
        add(&world, floating("top", &script).input(input))
    };
    let (outcome, first) = build(&world, &top(&one));
    assert_eq!(outcome.results[&one].status, BuildStatus::Built);
    let made = outcome.results[&one].outputs["out"].clone();
    // Contents that refer to themselves are hashed without that, so it is the same path wherever it was built.
    assert_eq!(std::fs::read_to_string(world.real(&first)).unwrap().trim(), world.store.store_dir().display(&made));
    let info = world.store.path_info(&made).unwrap();
    assert!(info.content_address.is_some() && info.references.contains(&made));
    assert!(world.store.path_info(&first).unwrap().references.contains(&made));

    let second_top = top(&two);
    let (outcome, second) = build(&world, &second_top);
    assert_eq!(outcome.results[&two].outputs["out"], made);
    assert_eq!(outcome.results[&second_top].status, BuildStatus::ResolvesToAlreadyValid);
    assert_eq!(first, second);
    // And both are known from now on.
    let (outcome, again) = build(&world, &second_top);
    assert_eq!(outcome.results[&second_top].status, BuildStatus::AlreadyValid);
    assert_eq!(again, second);
    let by_path = DerivationOutputId::by_path(one.clone(), "out");
    assert_eq!(world.store.query_realisation(&by_path).unwrap().is_some(), rules == ContentRules::Since2_35);

    // Worked out by hand: blanks instead of the own hash part, and since 2.35 the places of the blanks behind.
    let mut nar = Vec::new();
    world.store.write_nar(&made, &mut nar).unwrap();
    let own = made.hash_digits();
    let places: Vec<usize> = (0..nar.len() - own.len()).filter(|place| nar[*place..].starts_with(&own)).collect();
    assert_eq!(places.len(), 1);
    nar[places[0]..places[0] + own.len()].fill(0);
    if rules == ContentRules::Since2_35 {
        nar.extend(format!("|{}", places[0]).into_bytes());
    }
    assert_eq!(info.content_address.unwrap().hash, Hash::digest(Algorithm::Sha256, &nar));
    made
}

#[test]
fn without_the_feature_they_are_refused() {
    let world = World::new();
    let path = add(&world, floating("a", "echo > $out"));
    let builder = Builder::new(world.store.clone(), options(&[]));
    let error = builder.plan(&[DerivedPath::from_path(path)]).unwrap_err().to_string();
    assert!(error.contains("experimental Nix feature 'ca-derivations' is disabled"), "{error}");
}

#[test]
fn input_addressed_derivations_wait_for_what_their_inputs_become() {
    let world = World::new();
    let input = add(&world, floating("a", "echo hi > $out"));
    let mut recipe = sh("top", "echo $in > $out").input(&input).env("in", &placeholder(&input));
    recipe.derivation.env.insert(b"out".to_vec(), Vec::new());
    let top = add(&world, recipe);
    assert_eq!(world.store.derivation_outputs(&top).unwrap()["out"], None);
    let (outcome, out) = build(&world, &top);
    let made = outcome.results[&input].outputs["out"].clone();
    assert_eq!(world.store.path_info(&out).unwrap().references, [made].into());
    assert!(world.store.path_info(&out).unwrap().content_address.is_none());
    assert_eq!(world.store.derivation_outputs(&top).unwrap()["out"], Some(out));
}

#[test]
fn impure_derivations_are_built_each_time() {
    let world = World::new();
    let mut recipe = floating("now", "read x < /proc/sys/kernel/random/uuid; echo $x > $out");
    let impure = DerivationOutput::Impure { method: ContentAddressMethod::Nar, algorithm: Algorithm::Sha256 };
    recipe.derivation.outputs = [("out".into(), impure)].into();
    let path = add(&world, recipe);
    let build = || {
        let options = options(&["ca-derivations", "impure-derivations"]);
        let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
        assert!(outcome.is_success(), "{:#?}", outcome.results);
        outcome.realised[0].outputs["out"].clone()
    };
    assert_ne!(build(), build());
    let pure = add(&world, floating("pure", "echo > $out").input(&path));
    let builder = Builder::new(world.store.clone(), options(&["ca-derivations", "impure-derivations"]));
    let error = builder.plan(&[DerivedPath::from_path(pure)]).unwrap_err().to_string();
    assert!(error.contains("depends on impure derivation"), "{error}");
}

#[test]
fn a_derivation_may_be_built() {
    let world = World::new();
    let inner = add(&world, sh("inner", "echo inner > $out"));
    let text = world.store.read_file(&inner).unwrap();
    let source = world.store.add_text("text", &text, &world.store.path_info(&inner).unwrap().references).unwrap();
    let mut recipe = floating("inner.drv", "while read -r x; do printf '%s' \"$x\"; done < $from > $out; printf '%s' \"$x\" >> $out");
    recipe = recipe.env("from", &world.store.store_dir().display(&source)).source(&source);
    let output = DerivationOutput::Floating { method: ContentAddressMethod::Text, algorithm: Algorithm::Sha256 };
    recipe.derivation.outputs = [("out".into(), output)].into();
    let maker = add(&world, recipe);

    let nested = Placeholder::content_addressed_output(&maker, "out").output("out").to_string();
    let mut recipe = floating("top", &format!("read x < {nested}; echo $x again > $out"));
    let wanted = InputOutputs { dynamic: [("out".into(), InputOutputs::plain(["out"]))].into(), ..InputOutputs::default() };
    recipe.derivation.input_derivations.insert(maker.clone(), wanted);
    let top = add(&world, recipe);

    let builder = Builder::new(world.store.clone(), options(&["ca-derivations", "dynamic-derivations"]));
    let itself = DerivedPath::built(SingleDerivedPath::Opaque(maker.clone()).output("out"), OutputsSpec::All);
    let plan = builder.plan(&[DerivedPath::from_path(top), itself]).unwrap();
    let outcome = builder.run(&plan, &(), &CancelToken::new());
    assert!(outcome.is_success(), "{:#?}", outcome.results);
    assert_eq!(outcome.results[&maker].outputs["out"], inner);
    let read = |index: usize| std::fs::read_to_string(world.real(&outcome.realised[index].outputs["out"])).unwrap();
    assert_eq!((read(0).as_str(), read(1).as_str()), ("inner again\n", "inner\n"));
    assert_eq!(outcome.realised[1].derivation.as_ref(), Some(&inner));
    // Known from now on, so that there is nothing to do.
    assert!(builder.plan(&plan.wanted).unwrap().is_empty());
}

#[test]
fn a_derivation_that_claims_the_outputs_of_another_is_refused() {
    let world = World::new();
    let (_, good) = world.add_one(sh("x", "echo good > $out"));
    let (bad, own) = world.add_one(sh("x", "echo bad > $out"));
    let text = String::from_utf8(world.store.read_file(&bad).unwrap()).unwrap();
    let dir = world.store.store_dir();
    let stolen = text.replace(&dir.display(&own), &dir.display(&good));
    let addressing = nixlang_store::store::Addressing {
        method: ContentAddressMethod::Text,
        ..nixlang_store::store::Addressing::source("x.drv")
    };
    let added = world.store.add_contents(&addressing, nixlang_store::store::Contents::Bytes(stolen.as_bytes()));
    let message = format!("{:?}", added.unwrap_err());
    assert!(message.contains("WrongPath"), "{message}");
}
