//! Other machines that builds are sent to: the setting `builders`, and how each of them is opened.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nixlang_build::remote::machines::{Machine, parse_machines};
use nixlang_build::remote::{RemoteBuilders, RemoteStore};

use crate::commands::Context;
use crate::daemon_service::LocalService;
use crate::failure::{Failure, Outcome};
use crate::settings::Settings;
use crate::store_choice::StoreChoice;

/// Returns the machines of the setting `builders`, if there are any.
pub(super) fn builders(context: &Context, settings: &Settings, state_dir: &Path) -> Outcome<Option<Arc<RemoteBuilders>>> {
    let read_file = |path: &str| std::fs::read_to_string(path).ok();
    let machines = parse_machines(settings.text("builders"), settings.system(), &read_file).map_err(|error| Failure::from_error(&error))?;
    if machines.is_empty() {
        return Ok(None);
    }
    if settings.is_set("build-hook") {
        let words: Vec<&str> = settings.list("build-hook").collect();
        match words.last() {
            // The reference's way of sending nothing anywhere.
            None => return Ok(None),
            Some(word) if word.ends_with("build-remote") => {}
            Some(_) => context.ui.warn(format!("the program '{}' of the setting 'build-hook' is not asked: builds are sent to other machines by this one", words.join(" "))),
        }
    }
    let mut settings = settings.clone();
    // A machine that is a store of this one builds there itself, and sends nothing further.
    settings.set("builders", "")?;
    settings.set("max-jobs", "1")?;
    let (common, ui, cancel, helper) = (context.common.clone(), context.ui, context.cancel.clone(), context.helper.clone());
    let substitutes = settings.is_on("builders-use-substitutes");
    let open = move |machine: &Machine, stderr: OwnedFd| {
        let open = || -> Outcome<RemoteStore> {
            let choice = StoreChoice::at(&settings, &machine.full_address())?.with_stderr(stderr);
            let store = choice.any()?;
            // Whether it can be reached shows when it is asked something.
            store.trusts_this_client()?;
            store.are_valid(&[])?;
            let service = match choice.service()? {
                Some(service) => Arc::clone(service),
                None => {
                    let (common, cancel, helper) = (common.clone(), cancel.clone(), helper.clone());
                    let context = Context { settings: settings.clone(), common, ui, store: choice, eval_store: None, cancel, helper, flakes: Default::default() };
                    Arc::new(LocalService::new(Arc::new(context)))
                }
            };
            Ok(RemoteStore { store, service })
        };
        open().map_err(|failure| match failure {
            Failure::Shown(diagnostic) => diagnostic.message,
            Failure::Usage(message) => message,
            Failure::Status(_) | Failure::BrokenPipe => "interrupted by the user".to_owned(),
        })
    };
    Ok(Some(Arc::new(RemoteBuilders::new(machines, state_dir, substitutes, Box::new(open)))))
}
