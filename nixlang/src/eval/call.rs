//! Application: lambdas with one or several parameters, formals, builtins, partial application, functors.

use super::observe::Call;
use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Boxed, Builtin, BuiltinBody, Closure, Env, Kind, Partial, Value};
use crate::lower::expr::{Apply, Expr, Formals, Lambda};
use crate::source::Pos;

/// Calls with up to this many arguments need no vector.
const FEW: usize = 6;

impl<'h> Evaluator<'h> {
    pub(super) fn eval_apply(&self, apply: &'h Apply<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        let function = self.eval(&apply.function, env)?;
        let n = apply.arguments.len();
        if self.observing.get() {
            let arguments: Vec<_> = apply.arguments.iter().map(|argument| self.delay(argument, env)).collect();
            let _depth = self.enter_call(apply.pos)?;
            let call = Call { function, arguments: &arguments, pos: apply.pos, env: Some(env) };
            return self.observed(&call, || self.call_function(function, &arguments, apply.pos));
        }
        match function.kind() {
            // The common cases write their arguments straight to where they are needed.
            Kind::Lambda(closure) if closure.lambda.formals.is_none() && closure.lambda.n_params as usize == n => {
                let _depth = self.enter_call(apply.pos)?;
                let frame = self.heap.env(closure.env, closure.lambda.frame_len as usize);
                for (i, argument) in apply.arguments.iter().enumerate() {
                    frame.slot(i as u32).set(self.delay(argument, env));
                }
                self.run_body(closure.lambda, frame, apply.pos)
            }
            Kind::Builtin(builtin) if builtin.arity as usize == n && n <= FEW => {
                let _depth = self.enter_call(apply.pos)?;
                let mut arguments = [Value::NULL; FEW];
                for (i, argument) in apply.arguments.iter().enumerate() {
                    arguments[i] = if builtin.strict & 1 << i != 0 {
                        self.eval_argument(argument, env)
                    } else {
                        self.delay(argument, env)
                    };
                }
                self.run_builtin(builtin, &arguments[..n], apply.pos)
            }
            _ if n <= FEW => {
                let mut arguments = [Value::NULL; FEW];
                for (i, argument) in apply.arguments.iter().enumerate() {
                    arguments[i] = self.delay(argument, env);
                }
                self.call(function, &arguments[..n], apply.pos)
            }
            _ => {
                let arguments: Vec<_> = apply.arguments.iter().map(|argument| self.delay(argument, env)).collect();
                self.call(function, &arguments, apply.pos)
            }
        }
    }

    /// Evaluates an argument that a builtin forces first, in place. Its error is for the builtin to find, which adds what it was needed for.
    #[inline]
    pub(super) fn eval_argument(&self, argument: &'h Expr<'h>, env: Env<'h>) -> Value<'h> {
        match self.eval(argument, env) {
            Ok(value) => self.in_cell(value, argument, env),
            Err(error) => self.heap.thunk_failed(error),
        }
    }

    /// Returns what a variable was evaluated to as its cell has it, if it is a list: errors show by the cell what in a list is that list again.
    #[inline]
    pub(super) fn in_cell(&self, value: Value<'h>, expr: &'h Expr<'h>, env: Env<'h>) -> Value<'h> {
        if matches!(value.kind(), Kind::List(_)) && expr.is_variable() { self.delay(expr, env) } else { value }
    }

    /// Calls a function with arguments that may be thunks. Fewer arguments than it takes make a partial application.
    pub fn call(&self, function: Value<'h>, arguments: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
        let _depth = self.enter_call(pos)?;
        if self.observing.get() {
            return self.observed(&Call { function, arguments, pos, env: None }, || self.call_function(function, arguments, pos));
        }
        self.call_function(function, arguments, pos)
    }

    fn call_function(&self, function: Value<'h>, arguments: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
        let mut function = self.force_at(function, pos)?;
        let mut collected: Vec<Value<'h>>;
        let mut rest = arguments;
        while !rest.is_empty() {
            match function.kind() {
                Kind::Lambda(closure) => {
                    let n = closure.lambda.n_params as usize;
                    if rest.len() < n {
                        return Ok(self.partial(function, rest));
                    }
                    let (now, later) = rest.split_at(n);
                    function = self.call_closure(closure, now, pos)?;
                    rest = later;
                }
                Kind::Builtin(builtin) => {
                    let n = builtin.arity as usize;
                    if rest.len() < n {
                        return Ok(self.partial(function, rest));
                    }
                    let (now, later) = rest.split_at(n);
                    function = self.run_builtin(builtin, now, pos)?;
                    rest = later;
                }
                Kind::Partial(partial) => {
                    collected = partial.arguments.iter().chain(rest).copied().collect();
                    function = partial.function;
                    rest = &collected;
                }
                Kind::Attrs(attrs) if attrs.get(self.names.functor).is_some() => {
                    let functor = attrs.find(self.names.functor).expect("looked up just now");
                    let callee = functor.slot.get();
                    let called = if self.observing.get() {
                        self.call_functor_observed(callee, &[function, rest[0]], functor.pos)
                    } else {
                        self.call(callee, &[function, rest[0]], functor.pos)
                    };
                    function = called.map_err(|e| {
                        e.while_(pos, "while calling a functor (an attribute set with a '__functor' attribute)")
                    })?;
                    rest = &rest[1..];
                }
                _ => {
                    let (kind, shown) = (function.described_type(), self.show_for_error(function));
                    let message = format!("attempt to call something which is not a function but {kind}: {shown}");
                    return Err(EvalError::new(ErrorKind::Type, message).at(pos));
                }
            }
        }
        Ok(function)
    }

    /// In the reference a functor is not evaluated yet when it is called for the first time, so nobody knows its name.
    #[cold]
    fn call_functor_observed(&self, callee: Value<'h>, arguments: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
        let _depth = self.enter_call(pos)?;
        let is_new = self.functors_seen.borrow_mut().insert(callee.word());
        let function = if is_new { Value::NULL } else { callee };
        self.observed(&Call { function, arguments, pos, env: None }, || self.call_function(callee, arguments, pos))
    }

    fn partial(&self, function: Value<'h>, arguments: &[Value<'h>]) -> Value<'h> {
        let arguments = self.heap.alloc_slice(arguments.iter().copied());
        Value::boxed(self.heap.alloc(Boxed::Partial(Partial { function, arguments })))
    }

    fn call_closure(&self, closure: &'h Closure<'h>, arguments: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
        let lambda = closure.lambda;
        let frame = self.heap.env(closure.env, lambda.frame_len as usize);
        match lambda.formals {
            Some(formals) => self.match_formals(lambda, formals, arguments[0], frame, pos)?,
            None => arguments.iter().enumerate().for_each(|(i, argument)| frame.slot(i as u32).set(*argument)),
        }
        self.run_body(lambda, frame, pos)
    }

    #[inline]
    fn run_body(&self, lambda: &'h Lambda<'h>, frame: Env<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        let result = self.eval(&lambda.body, frame);
        if result.is_err() && self.show_trace.get() {
            return result.map_err(|e| {
                let e = e.while_(*lambda.positions.last().unwrap_or(&Pos::NONE), format!("while calling {}", self.lambda_name(lambda, true)));
                if pos.is_some() { e.while_(pos, "from call site") } else { e }
            });
        }
        result
    }

    /// Returns how messages name a function.
    pub(super) fn lambda_name(&self, lambda: &Lambda<'h>, quoted: bool) -> String {
        match lambda.name {
            Some(name) => {
                let name = String::from_utf8_lossy(self.symbols.text(name));
                if quoted { format!("'{name}'") } else { name.into_owned() }
            }
            None => "anonymous lambda".into(),
        }
    }

    fn match_formals(&self, lambda: &'h Lambda<'h>, formals: &'h Formals<'h>, argument: Value<'h>, frame: Env<'h>, pos: Pos) -> EvalResult<()> {
        let lambda_pos = *lambda.positions.last().unwrap_or(&Pos::NONE);
        let attrs = self
            .force_attrs(argument, lambda_pos, "while evaluating the value passed for the lambda argument")
            .map_err(|e| if pos.is_some() { e.while_(pos, "from call site") } else { e })?;
        if let Some(slot) = formals.whole {
            frame.slot(slot).set(argument);
        }
        let mut n_used = 0;
        for (i, formal) in formals.entries.iter().enumerate() {
            let value = match (attrs.get(formal.symbol), &formal.default) {
                (Some(found), _) => {
                    n_used += 1;
                    found.get()
                }
                (None, Some(default)) => self.delay(default, frame),
                (None, None) => {
                    let message = format!("function '{}' called without required argument '{}'", self.lambda_name(lambda, false), self.text(formal.symbol));
                    return Err(EvalError::new(ErrorKind::Type, message).at(lambda_pos).while_(pos, "from call site"));
                }
            };
            frame.slot(i as u32).set(value);
        }
        if formals.ellipsis || n_used == attrs.len(self.heap) {
            return Ok(());
        }
        let unexpected = attrs.flat(self.heap).iter().find(|entry| formals.entries.binary_search_by_key(&entry.symbol, |it| it.symbol).is_err());
        let Some(unexpected) = unexpected else { return Ok(()) };
        let message = format!("function '{}' called with unexpected argument '{}'", self.lambda_name(lambda, false), self.text(unexpected.symbol));
        let candidates = formals.entries.iter().map(|it| self.symbols.text(it.symbol));
        Err(EvalError::new(ErrorKind::Type, message)
            .at(lambda_pos)
            .while_(pos, "from call site")
            .suggest(self.suggestions(self.symbols.text(unexpected.symbol), candidates)))
    }

    fn run_builtin(&self, builtin: &'h Builtin<'h>, arguments: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
        let result = match builtin.body {
            // The reference's builtins don't know where they are called; the frame below does.
            BuiltinBody::Native(run) => run(self, arguments, Pos::NONE),
            BuiltinBody::Host(run) => run(self, arguments),
        };
        result.and_then(|value| self.force(value)).map_err(|e| match builtin.name {
            // What it says is the frame.
            "addErrorContext" => e,
            name => e.while_(pos, format!("while calling the '{name}' builtin")),
        })
    }

    /// Calls a function on what `--arg` and `--argstr` gave (`arguments` is a set), if it has formals; everything else stays as it is.
    pub fn auto_call(&self, function: Value<'h>, arguments: Value<'h>) -> EvalResult<Value<'h>> {
        let function = self.force(function)?;
        if let Kind::Attrs(attrs) = function.kind()
            && let Some(functor) = attrs.get(self.names.functor)
        {
            let called = self.call(functor.get(), &[function], Pos::NONE)?;
            return self.auto_call(called, arguments);
        }
        let Kind::Lambda(closure) = function.kind() else { return Ok(function) };
        let Some(formals) = closure.lambda.formals else { return Ok(function) };
        let given = self.force_attrs(arguments, Pos::NONE, "while evaluating the arguments")?;
        if formals.ellipsis {
            return self.call(function, &[arguments], Pos::NONE);
        }
        let mut passed = Vec::new();
        for formal in formals.entries {
            match given.find(formal.symbol) {
                Some(entry) => passed.push((formal.symbol, entry.slot.get())),
                None if formal.default.is_some() => {}
                None => {
                    let name = self.text(formal.symbol);
                    let message = format!(
                        "cannot evaluate a function that has an argument without a value ('{name}')\n\
                         Nix attempted to evaluate a function as a top level expression; in\n\
                         this case it must have its arguments supplied either by default\n\
                         values, or passed explicitly with '--arg' or '--argstr'. See\n\
                         https://nix.dev/manual/nix/stable/language/syntax.html#functions."
                    );
                    return Err(EvalError::new(ErrorKind::Type, message).at(formal.pos));
                }
            }
        }
        let arguments = self.attrs_of(passed);
        self.call(function, &[arguments], Pos::NONE)
    }
}
