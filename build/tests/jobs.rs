//! Builds in the background, as host programs run them.

mod support;

use std::sync::Arc;
use std::time::Duration;

use nixlang_build::{BuildStatus, Builder, DerivedPath, Scheduler};
use nixlang_store::path::StorePath;
use support::{Recorder, World, sh};

#[test]
fn jobs_run_in_the_background_and_can_be_cancelled() {
    let world = World::new();
    let (quick, out) = world.add_one(sh("quick", "echo x > $out"));
    let (slow, _) = world.add_one(sh("slow", "echo on; while :; do :; done"));
    let scheduler = Scheduler::new(Arc::new(Builder::new(world.store.clone(), world.options())));
    let start = |path: &StorePath| {
        let plan = scheduler.builder().plan(&[DerivedPath::from_path(path.clone())]).unwrap();
        let recorder = Arc::new(Recorder::default());
        (scheduler.start(plan, recorder.clone()), recorder)
    };
    let (job, recorder) = start(&slow);
    // Both at once; the slow one is not in the way.
    let outcome = start(&quick).0.wait();
    assert_eq!(outcome.realised[0].outputs["out"], out);
    assert!(!job.wait_timeout(Duration::ZERO) && !job.poll().is_finished && job.poll().total == 1);
    while recorder.lines().is_empty() {
        assert!(!job.wait_timeout(Duration::from_millis(1)));
    }
    job.cancel();
    let outcome = job.wait();
    assert_eq!(outcome.results[&slow].status, BuildStatus::Cancelled);
    // One that is dropped is stopped as well.
    drop(start(&slow));
}
