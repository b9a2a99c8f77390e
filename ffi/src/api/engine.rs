//! `nixlang/engine.h`: configurations, engines, budgets, cancellation, evaluating.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nixlang::builtins::add_builtin;
use nixlang::eval::{Budgets, CancelToken, EvalResult, Evaluator};
use nixlang::heap::{Engine, OwnedEvaluator, OwnedValue, Value};
use nixlang::host::{Message, OsHost};
use nixlang::source::Origin;
use parking_lot::Mutex;

use super::base::{ErrorPointer, Str, free, look, put, run};
use super::error::{Code, Failure, HostData};
use super::store::StoreHandle;
use super::value::{ValueHandle, give_value};
use crate::host::{DiskFiles, EmbeddedHost, Fetcher, Files, MessageSink, World};
use crate::pool::{self, Slot};
use crate::settings::Settings;
use crate::stores::OpenStore;
use crate::world;

/// `nixlang_config`
pub struct ConfigHandle {
    pub(super) parts: Mutex<ConfigParts>,
}

/// What an engine is made with.
#[derive(Clone)]
pub(super) struct ConfigParts {
    pub(super) settings: Settings,
    lookup_path: Vec<String>,
    pub(super) store: Option<Arc<OpenStore>>,
    pub(super) files: Option<Arc<dyn Files>>,
    pub(super) fetchers: HashMap<String, Arc<Fetcher>>,
    messages: Option<Arc<MessageSink>>,
}

impl ConfigParts {
    fn new() -> ConfigParts {
        ConfigParts { settings: Settings::embedded(), lookup_path: Vec::new(), store: None, files: None, fetchers: HashMap::new(), messages: None }
    }
}

/// What values and the handle of an engine share.
pub struct EngineShared {
    pub(super) evaluator: OwnedEvaluator,
    /// Calls into the evaluator that are in progress; changed under the engine's lock.
    depth: AtomicU32,
}

/// `nixlang_engine`
pub struct EngineHandle(pub(super) Arc<EngineShared>);

/// `nixlang_cancel`
pub struct CancelHandle(pub(super) CancelToken);

crate::pool::pooled!(ConfigHandle, EngineHandle, CancelHandle);
free!(nixlang_config_free: ConfigHandle, nixlang_engine_free: EngineHandle, nixlang_cancel_free: CancelHandle);

/// `nixlang_budget`
#[repr(C)]
pub struct CBudget {
    size: usize,
    steps: u64,
    heap_bytes: u64,
    time_ms: u64,
    cancel: *const Slot<CancelHandle>,
}

/// Returns the budgets that C means; zeros are no limit.
///
/// # Safety
/// NULL or a budget of the size that it says, with a live token or none.
unsafe fn budgets(budget: *const CBudget) -> Result<Option<(Budgets, u64)>, Failure> {
    // SAFETY: the contract.
    let Some(budget) = (unsafe { budget.as_ref() }) else { return Ok(None) };
    if budget.size < size_of::<CBudget>() {
        return Err(Failure::argument("the budget's size is not set: write `nixlang_budget budget = NIXLANG_BUDGET_INIT`"));
    }
    let some = |number: u64| (number != 0).then_some(number);
    let cancel = match budget.cancel.is_null() {
        true => None,
        // SAFETY: the contract.
        false => Some(unsafe { look(budget.cancel, "cancel") }?.0.clone()),
    };
    let budgets = Budgets { steps: some(budget.steps), heap_bytes: None, time: some(budget.time_ms).map(Duration::from_millis), cancel };
    Ok(Some((budgets, budget.heap_bytes)))
}

struct Depth<'e>(&'e AtomicU32);

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EngineShared {
    /// Runs `body` with the evaluator, within a budget. Inside of another call, that one's budget stays in force.
    ///
    /// # Safety
    /// As `budgets`.
    pub(super) unsafe fn enter<R>(&self, budget: *const CBudget, body: impl for<'h> FnOnce(&Evaluator<'h>) -> EvalResult<R>) -> Result<R, Failure> {
        // SAFETY: the contract.
        let budgets = unsafe { budgets(budget) }?;
        let _no_collection = crate::guard::NoCollection::begin();
        self.evaluator.enter(|eval| {
            let is_outermost = self.depth.fetch_add(1, Ordering::Relaxed) == 0;
            let _depth = Depth(&self.depth);
            if is_outermost {
                let (mut budgets, heap_bytes) = budgets.unwrap_or_default();
                if heap_bytes != 0 {
                    budgets.heap_bytes = Some(eval.heap.used_bytes().saturating_add(usize::try_from(heap_bytes).unwrap_or(usize::MAX)));
                }
                eval.set_budgets(budgets);
            }
            let result = body(eval).map_err(|error| Failure::eval(eval, &error));
            if is_outermost {
                // Nothing of a budget, or its token, outlives the call.
                eval.set_budgets(Budgets::default());
            }
            result
        })
    }

    /// As [`enter`](Self::enter), and gives the value that `body` returns to C.
    ///
    /// # Safety
    /// As `enter`; `result` is NULL or writable.
    pub(super) unsafe fn enter_for(
        self: &Arc<Self>,
        budget: *const CBudget,
        result: *mut *mut Slot<ValueHandle>,
        body: impl for<'h> FnOnce(&Evaluator<'h>) -> EvalResult<Value<'h>>,
    ) -> Result<(), Failure> {
        // SAFETY: the contract.
        unsafe {
            let engine = self.evaluator.engine();
            let value: OwnedValue = self.enter(budget, |eval| body(eval).map(|value| engine.own(eval.heap, value)))?;
            put(result, give_value(self, value))
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C-unwind" fn nixlang_config_new() -> *mut Slot<ConfigHandle> {
    pool::give(ConfigHandle { parts: Mutex::new(ConfigParts::new()) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_set(config: *mut Slot<ConfigHandle>, name: Str, value: Str) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (name, value) = (name.text("name")?, value.text("value")?);
        look(config, "config")?.parts.lock().settings.set(name, value).map_err(|error| Failure::argument(error.to_string()))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_load(config: *mut Slot<ConfigHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe { look(config, "config")?.parts.lock().settings.load().map_err(|error| Failure::argument(error.to_string())) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_add_search_path(config: *mut Slot<ConfigHandle>, entry: Str) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let entry = entry.text("entry")?.to_owned();
        look(config, "config")?.parts.lock().lookup_path.push(entry);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_set_store(config: *mut Slot<ConfigHandle>, store: *mut Slot<StoreHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = look(store, "store")?.0.clone();
        look(config, "config")?.parts.lock().store = Some(store);
        Ok(())
    })
}

type MessageFunction = Option<unsafe extern "C-unwind" fn(*mut c_void, std::ffi::c_int, Str)>;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_config_set_messages(
    config: *mut Slot<ConfigHandle>,
    function: MessageFunction,
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
) -> ErrorPointer {
    let data = HostData::new(data, drop);
    // SAFETY: the header's contract.
    run(|| unsafe {
        let function = function.ok_or_else(|| Failure::argument("the function is NULL"))?;
        let sink: Arc<MessageSink> = Arc::new(move |kind, text| {
            let kind = match kind {
                Message::Trace => 0,
                Message::EvaluationWarning => 1,
                Message::Warning => 2,
            };
            let text = super::base::CText::new(text);
            // SAFETY: the header's contract.
            function(data.get(), kind, text.lend());
        });
        look(config, "config")?.parts.lock().messages = Some(sink);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_engine_new(config: *const Slot<ConfigHandle>, result: *mut *mut Slot<EngineHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        crate::guard::refuse_second_implementation()?;
        let parts = if config.is_null() { ConfigParts::new() } else { look(config, "config")?.parts.lock().clone() };
        let ConfigParts { settings, lookup_path, store, files, fetchers, messages } = parts;
        let store = match store {
            Some(store) => store,
            None => Arc::new(OpenStore::open("dummy://", &[], &settings)?),
        };
        let options = world::options(&settings, &lookup_path, true);
        let is_disk = files.is_none();
        let files = files.unwrap_or_else(|| Arc::new(DiskFiles(OsHost { store_dir: store.store.store_dir().clone() })));
        let world = World { store, settings, files, is_disk, fetchers, messages, read_write: true, pure: options.pure };
        let engine = Engine::new().map_err(|error| Failure::new(Code::Internal, format!("no memory for the evaluator's stack: {error}")))?;
        let evaluator = engine.evaluator(Box::new(EmbeddedHost::new(world)), options);
        put(result, pool::give(EngineHandle(Arc::new(EngineShared { evaluator, depth: AtomicU32::new(0) }))))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_engine_add_builtin(engine: *mut Slot<EngineHandle>, name: Str, value: *const Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (engine, name, value) = (look(engine, "engine")?, name.text("name")?, look(value, "value")?);
        engine.0.evaluator.glance(|eval| {
            let value = value.on(eval)?;
            add_builtin(eval, name, value, true);
            Ok(())
        })
    })
}

/// `nixlang_statistics`
#[repr(C)]
pub struct CStatistics {
    size: usize,
    heap_bytes: u64,
    steps: u64,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_engine_statistics(engine: *const Slot<EngineHandle>, result: *mut CStatistics) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let engine = look(engine, "engine")?;
        let result = result.as_mut().filter(|result| result.size >= size_of::<CStatistics>()).ok_or_else(|| Failure::argument("the size of the statistics is not set"))?;
        engine.0.evaluator.glance(|eval| {
            result.heap_bytes = eval.heap.used_bytes() as u64;
            result.steps = eval.steps();
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C-unwind" fn nixlang_cancel_new() -> *mut Slot<CancelHandle> {
    pool::give(CancelHandle(CancelToken::new()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_cancel_fire(cancel: *const Slot<CancelHandle>) {
    // SAFETY: the header's contract.
    if let Some(cancel) = unsafe { pool::look(cancel) } {
        cancel.0.cancel();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_evaluate(
    engine: *mut Slot<EngineHandle>,
    text: Str,
    base_directory: Str,
    budget: *const CBudget,
    result: *mut *mut Slot<ValueHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (engine, text) = (look(engine, "engine")?, text.bytes());
        let base = nixlang::path::canonicalise(&[b"/", base_directory.bytes()].concat());
        engine.0.enter_for(budget, result, |eval| eval.eval_text(text, Origin::String, &base))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_evaluate_file(engine: *mut Slot<EngineHandle>, path: Str, budget: *const CBudget, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let engine = look(engine, "engine")?;
        let path = nixlang::path::canonicalise(path.bytes());
        engine.0.enter_for(budget, result, |eval| eval.import(&path))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_evaluate_json(engine: *mut Slot<EngineHandle>, text: Str, result: *mut *mut Slot<ValueHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let (engine, text) = (look(engine, "engine")?, text.bytes());
        engine.0.enter_for(std::ptr::null(), result, |eval| eval.from_json(text, nixlang::source::Pos::NONE))
    })
}
