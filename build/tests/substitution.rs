//! Fetching and building in one run: they go on side by side, and what can't be fetched is built.

mod support;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nixlang_build::{BuildEvent, BuildOptions, BuildOutcome, BuildStatus, Builder, CancelToken, DerivedPath, Observer};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use nixlang_store::substituter::{OpenSubstituter, Substituter, Substituters};
use nixlang_store::transfer::Interrupt;
use support::{Recipe, Recorder, World, sh};

/// Options of builds that may fetch from another store.
fn fetching_from(other: &World) -> BuildOptions {
    let store = Arc::clone(&other.store);
    let open: OpenSubstituter = Box::new(move || Ok(Substituter::new(Arc::clone(&store) as Arc<dyn Store>, 0).trusted(true)));
    let substituters = Substituters::new(vec![("other".to_owned(), open)], Arc::new(()), Interrupt::default());
    BuildOptions { substituters: Some(Arc::new(substituters)), max_jobs: 2, ..support::options() }
}

fn run(world: &World, options: BuildOptions, wanted: &StorePath, observer: &dyn Observer) -> BuildOutcome {
    let builder = Builder::new(Arc::clone(&world.store), options);
    let plan = builder.plan(&[DerivedPath::from_path(wanted.clone())]).unwrap();
    builder.run(&plan, observer, &CancelToken::new())
}

fn library() -> Recipe {
    sh("library", "echo library > $out")
}

/// Needs the library and something that only it needs.
fn program(world: &World) -> (StorePath, StorePath) {
    let (library, library_out) = world.add_one(library());
    let (other, other_out) = world.add_one(sh("other", "echo other > $out"));
    let dir = world.store.store_dir();
    let text = "read a < $library; read b < $other; echo $a $b > $out";
    world.add_one(
        sh("program", text)
            .env("library", &dir.display(&library_out))
            .env("other", &dir.display(&other_out))
            .input(&library)
            .input(&other),
    )
}

/// Lets nothing be fetched before something is being built.
#[derive(Default)]
struct FetchWaitsForBuild {
    is_building: Mutex<bool>,
    changed: Condvar,
    events: Recorder,
}

impl Observer for FetchWaitsForBuild {
    fn event(&self, event: &BuildEvent<'_>) {
        let mut is_building = self.is_building.lock().unwrap();
        match event {
            BuildEvent::Executing { .. } => {
                *is_building = true;
                self.changed.notify_all();
            }
            BuildEvent::Fetching { .. } => {
                // Would be for ever if builds had to wait.
                let limit = Duration::from_secs(60);
                is_building = self.changed.wait_timeout_while(is_building, limit, |is_building| !*is_building).unwrap().0;
                assert!(*is_building, "nothing is built while something is fetched");
            }
            _ => {}
        }
        drop(is_building);
        self.events.event(event);
    }
}

#[test]
fn builds_do_not_wait_for_what_others_need() {
    let (cache, world) = (World::new(), World::new());
    let (path, _) = cache.add_one(library());
    assert!(cache.build(&path).is_success());
    let (wanted, out) = program(&world);
    let observer = FetchWaitsForBuild::default();
    let outcome = run(&world, fetching_from(&cache), &wanted, &observer);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(world.real(&out)).unwrap(), "library other\n");
    let started: Vec<String> = observer.events.events().into_iter().filter(|event| event.starts_with("started")).collect();
    assert_eq!(started, ["started other.drv", "started program.drv"]);
}

#[test]
fn what_cannot_be_fetched_is_built_if_that_is_wanted() {
    for fallback in [true, false] {
        let (cache, world) = (World::new(), World::new());
        let (path, out) = cache.add_one(library());
        assert!(cache.build(&path).is_success());
        std::fs::remove_file(cache.real(&out)).unwrap();
        let (wanted, out) = program(&world);
        let options = BuildOptions { fallback, keep_going: true, ..fetching_from(&cache) };
        let recorder = Recorder::default();
        let outcome = run(&world, options, &wanted, &recorder);
        assert_eq!(outcome.is_success(), fallback, "{outcome:?}");
        if fallback {
            assert_eq!(std::fs::read_to_string(world.real(&out)).unwrap(), "library other\n");
            assert_eq!(outcome.results[&path].status, BuildStatus::Built);
        } else {
            assert_eq!(outcome.results[&wanted].status, BuildStatus::DependencyFailed);
            assert!(outcome.results[&path].message.starts_with("some substitutes for the outputs"), "{outcome:?}");
            // The rest was done all the same.
            assert!(recorder.events().contains(&"finished other.drv Built".to_owned()));
        }
    }
}

#[test]
fn a_derivation_that_is_missing_is_fetched_and_then_its_outputs() {
    for is_built in [true, false] {
        let (cache, world) = (World::new(), World::new());
        let (wanted, out) = program(&cache);
        if is_built {
            assert!(cache.build(&wanted).is_success());
        }
        let recorder = Recorder::default();
        let outcome = run(&world, fetching_from(&cache), &wanted, &recorder);
        assert!(outcome.is_success(), "{outcome:?}");
        assert_eq!(std::fs::read_to_string(world.real(&out)).unwrap(), "library other\n");
        assert_eq!(outcome.realised[0].outputs["out"], out);
        assert_eq!(recorder.events().iter().any(|event| event.starts_with("started")), !is_built, "{:?}", recorder.events());
    }
    // Where nobody has it there is nothing to do.
    let (cache, world, elsewhere) = (World::new(), World::new(), World::new());
    let (wanted, _) = program(&elsewhere);
    let outcome = run(&world, fetching_from(&cache), &wanted, &());
    assert!(!outcome.is_success());
    assert!(outcome.missing[&wanted].contains("does not exist and cannot be created"), "{outcome:?}");
}
