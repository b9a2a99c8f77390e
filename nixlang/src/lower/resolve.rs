//! From the tree with names to the IR: the match over expressions.
//!
//! Variables are resolved in the reference's order (`bindVars`), so that of several undefined ones
//! the same is reported. Recursion is as deep as the tree is high, which the parser has bounded.

use std::sync::atomic::AtomicU64;

use super::error::{LowerError, LowerErrorKind};
use super::expr::{
    Apply, Assert, AttrName, AttrsLiteral, Binary, BinaryOperator, Binding, BindingScope,
    DynamicBinding, DynamicVariable, Expr, Formal, Formals, Frame, FrameSlot, HasAttr, If, Join,
    Lambda, Let, ListLiteral, Select, With,
};
use super::scope::{FrameNames, Mark, Scopes};
use super::show::Show;
use super::tree::{Raw, RawLambda, RawName, RawValue, Set, SetId};
use crate::eval::Evaluator;
use crate::eval::statistics::count;
use crate::heap::{Heap, Kind, Value};
use crate::source::Pos;
use crate::symbol::Symbol;

type Lowered<T> = Result<T, LowerError>;

/// Where an expression stands, as far as frames are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is evaluated at most once per frame, in it, so it may use slots of the frame.
    Spine,
    /// Anywhere else.
    Other,
}

/// Makes the IR of one source.
pub(super) struct Resolver<'a, 'h> {
    eval: &'a Evaluator<'h>,
    heap: &'h Heap,
    builtins: Symbol,
    sets: Vec<Set<'a>>,
    scopes: Scopes,
    /// Stacks of what is being collected for slices of the heap.
    exprs: Vec<Expr<'h>>,
    collected: Vec<Binding<'h>>,
    names: Vec<(Symbol, Pos)>,
    /// How many bytes of shown conditions the source may still have, but for the last.
    text_budget: usize,
    /// A call that the scopes around are asked for, and what they are.
    probe: Option<(Pos, Option<Vec<FrameNames>>)>,
    /// The `with`s around the variable that was resolved last, if they are still the same.
    withs: Option<(u32, &'h [FrameSlot])>,
}

impl<'a, 'h> Resolver<'a, 'h> {
    /// Returns a resolver for a tree with these sets. `names` are the slots of the outermost frame,
    /// `source_len` is the length of the source in bytes.
    pub(super) fn new(
        eval: &'a Evaluator<'h>,
        sets: Vec<Set<'a>>,
        names: &[Symbol],
        source_len: usize,
    ) -> Self {
        let mut scopes = Scopes::default();
        scopes.enter_frame(names.len() as u32);
        for (slot, &name) in names.iter().enumerate() {
            scopes.bind(name, slot as u32);
        }
        let builtins = eval.symbols.intern(b"builtins");
        let text_budget = source_len.saturating_mul(16) + 65_536;
        Resolver {
            eval,
            heap: eval.heap,
            builtins,
            sets,
            scopes,
            exprs: Vec::new(),
            collected: Vec::new(),
            names: Vec::new(),
            text_budget,
            probe: None,
            withs: None,
        }
    }

    /// Asks for what is in scope at the call or operator that stands at `pos`.
    pub(super) fn probe(&mut self, pos: Pos) {
        self.probe = Some((pos, None));
    }

    /// Returns what was asked for, once the source is resolved.
    pub(super) fn probed(self) -> Option<Vec<FrameNames>> {
        self.probe.and_then(|(_, names)| names)
    }

    /// Notes the scopes if they are asked for here.
    fn pass(&mut self, at: Pos) {
        if let Some((pos, names)) = &mut self.probe
            && *pos == at
        {
            *names = Some(self.scopes.snapshot());
        }
    }

    fn all<I>(&mut self, raws: I, place: Place) -> Lowered<&'h [Expr<'h>]>
    where
        I: ExactSizeIterator<Item = &'a Raw<'a>>,
    {
        let base = self.exprs.len();
        for raw in raws {
            let expr = self.expr(raw, place)?;
            self.exprs.push(expr);
        }
        Ok(self.heap.alloc_slice(self.exprs.drain(base..)))
    }

    /// Makes the IR of one expression.
    pub(super) fn expr(&mut self, raw: &'a Raw<'a>, place: Place) -> Lowered<Expr<'h>> {
        let heap = self.heap;
        count(&heap.counters().exprs, 1);
        Ok(match raw {
            Raw::Int(int) => Expr::Constant(heap.int(*int)),
            Raw::Float(float) => Expr::Constant(heap.float(*float)),
            Raw::String(text) => Expr::Constant(heap.string(text)),
            Raw::Path(text) => Expr::Constant(heap.path(text)),
            Raw::Variable(symbol, pos) => self.variable(*symbol, *pos)?,
            Raw::CurrentPosition(pos) => Expr::CurrentPosition(*pos),
            Raw::Lambda(lambda) => self.lambda(lambda)?,
            Raw::Apply { function, arguments, pos } => {
                self.pass(*pos);
                let function = self.expr(function, Place::Other)?;
                let arguments = self.all(arguments.iter().copied(), Place::Other)?;
                Expr::Apply(heap.alloc(Apply { function, arguments, pos: *pos }))
            }
            Raw::Select { base, path, default, pos } => {
                self.select(base, path, default.as_deref(), *pos)?
            }
            Raw::HasAttr { base, path, pos } => {
                let base = self.expr(base, Place::Other)?;
                let path = self.path(path)?;
                Expr::HasAttr(heap.alloc(HasAttr { base, path, pos: *pos }))
            }
            Raw::Set(id) => self.set(*id)?,
            Raw::List(elements) => {
                let elements = self.all(elements.iter().copied(), Place::Other)?;
                match elements {
                    [] => Expr::Constant(Value::list(heap.list([]))),
                    _ => Expr::List(heap.alloc(ListLiteral { elements })),
                }
            }
            Raw::Let { set, body } => self.let_in(*set, body, place)?,
            Raw::With { scope, body, pos } => self.with(scope, body, *pos, place)?,
            Raw::If { condition, then, otherwise, pos } => {
                let branches = if place == Place::Spine { place } else { Place::Other };
                let condition = self.expr(condition, Place::Other)?;
                let then = self.expr(then, branches)?;
                let otherwise = self.expr(otherwise, branches)?;
                Expr::If(heap.alloc(If { condition, then, otherwise, pos: *pos }))
            }
            Raw::Assert { condition, body, pos } => {
                let text = self.shown_condition(condition);
                let condition = self.expr(condition, Place::Other)?;
                let place = if place == Place::Spine { place } else { Place::Other };
                let body = self.expr(body, place)?;
                Expr::Assert(heap.alloc(Assert { condition, body, pos: *pos, text }))
            }
            Raw::Not(operand) => Expr::Not(heap.alloc(self.expr(operand, Place::Other)?)),
            Raw::Binary { operator, left, right, pos } => {
                self.pass(*pos);
                self.binary(*operator, left, right, *pos)?
            }
            Raw::Join { parts, interpolation, pos } => {
                let mut lowered = Vec::with_capacity(parts.len());
                for (part, pos) in *parts {
                    lowered.push((self.expr(part, Place::Other)?, *pos));
                }
                let parts = heap.alloc_slice(lowered);
                let interpolation = *interpolation;
                Expr::Join(heap.alloc(Join { parts, interpolation, pos: *pos }))
            }
            Raw::SearchPath(text, pos) => {
                let names = &self.eval.names;
                let (find_file, nix_path) = (names.find_file, names.nix_path);
                let function = self.variable(find_file, Pos::NONE)?;
                let entries = self.variable(nix_path, Pos::NONE)?;
                let arguments = [entries, Expr::Constant(heap.string(text))];
                let arguments = heap.alloc_slice(arguments);
                Expr::Apply(heap.alloc(Apply { function, arguments, pos: *pos }))
            }
        })
    }

    /// Returns an assertion's condition as messages show it.
    ///
    /// Conditions may nest, and then an inner one is shown within each outer one as well. All
    /// texts of one source together are therefore limited, and `…` stands for what is too much.
    fn shown_condition(&mut self, condition: &'a Raw<'a>) -> &'h [u8] {
        let mut text = Vec::new();
        if self.text_budget > 0 {
            Show::new(&self.eval.symbols, &self.sets).expression(condition, &mut text);
            self.text_budget = self.text_budget.saturating_sub(text.len());
        } else {
            text.extend_from_slice("…".as_bytes());
        }
        self.heap.alloc_slice(text)
    }

    fn variable(&mut self, symbol: Symbol, pos: Pos) -> Lowered<Expr<'h>> {
        let (mark, level) = (self.scopes.mark(), self.scopes.level());
        self.variable_at(symbol, pos, mark, level)
    }

    /// Resolves a variable as it is seen at the mark, from the frame of a level.
    fn variable_at(
        &mut self,
        symbol: Symbol,
        pos: Pos,
        mark: Mark,
        level: u32,
    ) -> Lowered<Expr<'h>> {
        if let Some((at, slot)) = self.scopes.find(symbol, mark) {
            return match level - at {
                0 => Ok(Expr::Local { slot, pos }),
                depth => match u16::try_from(depth) {
                    Ok(depth) => Ok(Expr::Outer { depth, slot, pos }),
                    Err(_) => Err(too_deep(pos)),
                },
            };
        }
        if let Some(value) = self.eval.global(symbol) {
            return Ok(Expr::Constant(value));
        }
        let scopes = match self.withs {
            Some((seen_from, scopes)) if seen_from == level => scopes,
            _ => {
                if level > u32::from(u16::MAX) {
                    return Err(too_deep(pos));
                }
                let withs: Vec<FrameSlot> = self.scopes.withs(level).collect();
                let scopes = self.heap.alloc_slice(withs);
                self.withs = Some((level, scopes));
                scopes
            }
        };
        if scopes.is_empty() {
            let name = Show::new(&self.eval.symbols, &self.sets).symbol(symbol);
            let mut names = self.eval.global_names();
            names.extend(self.scopes.names());
            names.retain(|name| !self.eval.symbols.text(*name).starts_with(b"__"));
            names.sort_unstable();
            names.dedup();
            let symbols = &self.eval.symbols;
            let suggestions = self.eval.suggestions(symbols.text(symbol), names.into_iter().map(|name| symbols.text(name)));
            return Err(LowerError { kind: LowerErrorKind::UndefinedVariable { name, suggestions }, pos });
        }
        Ok(Expr::Dynamic(self.heap.alloc(DynamicVariable { symbol, pos, scopes })))
    }

    /// Returns whether a name means the global variable here.
    fn is_global(&self, symbol: Symbol) -> bool {
        self.scopes.find(symbol, self.scopes.mark()).is_none()
    }

    fn path(&mut self, path: &'a [RawName<'a>]) -> Lowered<&'h [AttrName<'h>]> {
        if let [RawName::Static(symbol, pos)] = *path {
            return Ok(self.heap.alloc_slice([AttrName::Static(symbol, pos)]));
        }
        let mut names = Vec::with_capacity(path.len());
        for name in path {
            names.push(match *name {
                RawName::Static(symbol, pos) => AttrName::Static(symbol, pos),
                RawName::Dynamic(raw, pos) => {
                    AttrName::Dynamic(self.expr(raw, Place::Other)?, pos)
                }
            });
        }
        Ok(self.heap.alloc_slice(names))
    }

    fn select(
        &mut self,
        base: &'a Raw<'a>,
        path: &'a [RawName<'a>],
        default: Option<&'a Raw<'a>>,
        pos: Pos,
    ) -> Lowered<Expr<'h>> {
        let (mut base_expr, mut path) = (None, path);
        if let Raw::Variable(name, _) = base
            && *name == self.builtins
            && let [RawName::Static(symbol, _), rest @ ..] = path
            && let Some(value) = self.builtin(*symbol)
        {
            if rest.is_empty() {
                return Ok(Expr::Builtin { value, pos });
            }
            base_expr = Some(Expr::Constant(value));
            path = rest;
        }
        let base = match base_expr {
            Some(base) => base,
            None => self.expr(base, Place::Other)?,
        };
        let default = match default {
            Some(default) => Some(self.expr(default, Place::Other)?),
            None => None,
        };
        let path = self.path(path)?;
        let cache = AtomicU64::new(u64::MAX);
        Ok(Expr::Select(self.heap.alloc(Select { base, path, default, pos, cache })))
    }

    /// Returns what `builtins.name` is, if it is known already and `builtins` is the global one.
    fn builtin(&self, name: Symbol) -> Option<Value<'h>> {
        if !self.is_global(self.builtins) {
            return None;
        }
        let Kind::Attrs(attrs) = self.eval.global(self.builtins)?.kind() else { return None };
        attrs.get(name)?.try_get().filter(|value| !value.is_thunk())
    }

    fn binary(
        &mut self,
        operator: BinaryOperator,
        left: &'a Raw<'a>,
        right: &'a Raw<'a>,
        pos: Pos,
    ) -> Lowered<Expr<'h>> {
        let names = &self.eval.names;
        let function = match operator {
            BinaryOperator::Subtract => Some(names.sub),
            BinaryOperator::Multiply => Some(names.mul),
            BinaryOperator::Divide => Some(names.div),
            BinaryOperator::Less => Some(names.less_than),
            _ => None,
        };
        if let Some(function) = function.filter(|function| !self.is_global(*function)) {
            let function = self.variable(function, Pos::NONE)?;
            let arguments = self.all([left, right].into_iter(), Place::Other)?;
            return Ok(Expr::Apply(self.heap.alloc(Apply { function, arguments, pos })));
        }
        let left = self.expr(left, Place::Other)?;
        let right = self.expr(right, Place::Other)?;
        Ok(Expr::Binary(self.heap.alloc(Binary { operator, left, right, pos })))
    }

    fn lambda(&mut self, lambda: &'a RawLambda<'a>) -> Lowered<Expr<'h>> {
        let heap = self.heap;
        let mark = self.scopes.mark();
        let mut body = lambda.body;
        let mut formals = None;
        let (params, positions, n_params);
        if let Some(raw) = &lambda.formals {
            n_params = 1;
            params = match lambda.argument {
                Some(argument) => heap.alloc_slice([argument]),
                None => &[],
            };
            positions = heap.alloc_slice([lambda.pos]);
            let n_formals = raw.entries.len() as u32;
            let whole = lambda.argument.map(|_| n_formals);
            self.scopes.enter_frame(n_formals + whole.map_or(0, |_| 1));
            for (slot, formal) in raw.entries.iter().enumerate() {
                self.scopes.bind(formal.symbol, slot as u32);
            }
            if let (Some(symbol), Some(slot)) = (lambda.argument, whole) {
                self.scopes.bind(symbol, slot);
            }
            let mut entries = Vec::with_capacity(raw.entries.len());
            for formal in raw.entries {
                let default = match formal.default {
                    Some(default) => Some(self.expr(default, Place::Other)?),
                    None => None,
                };
                entries.push(Formal { symbol: formal.symbol, pos: formal.pos, default });
            }
            let entries = heap.alloc_slice(entries);
            formals = Some(heap.alloc(Formals { entries, ellipsis: raw.ellipsis, whole }));
        } else {
            self.names.clear();
            self.names.extend(lambda.argument.map(|argument| (argument, lambda.pos)));
            while let Raw::Lambda(next) = body
                && next.formals.is_none()
            {
                self.names.extend(next.argument.map(|argument| (argument, next.pos)));
                body = next.body;
            }
            params = heap.alloc_slice(self.names.iter().map(|name| name.0));
            positions = heap.alloc_slice(self.names.iter().map(|name| name.1));
            n_params = params.len() as u32;
            self.scopes.enter_frame(n_params);
            for (slot, &param) in params.iter().enumerate() {
                self.scopes.bind(param, slot as u32);
            }
        }
        let outer_withs = self.withs.take();
        let body = self.expr(body, Place::Spine)?;
        self.withs = outer_withs;
        let frame_len = self.scopes.leave_frame();
        self.scopes.unbind(mark);
        let lambda = Lambda {
            n_params,
            frame_len,
            params,
            positions,
            formals: formals.map(|formals| &*formals),
            body,
            name: lambda.name.get(),
        };
        Ok(Expr::Lambda(heap.alloc(lambda)))
    }

    fn sources(&mut self, id: SetId) -> Lowered<&'h [Expr<'h>]> {
        let sources = std::mem::take(&mut self.sets[id.0 as usize].sources);
        self.all(sources.into_iter(), Place::Other)
    }

    /// Makes the values of bindings. `outer` is where inherited names are looked up, and
    /// `first_source` the slot of the first source of `inherit (e)`.
    fn bindings(
        &mut self,
        id: SetId,
        outer: Option<(Mark, u32)>,
        first_source: u32,
        sources: BindingScope,
    ) -> Lowered<&'h [Binding<'h>]> {
        let n_attrs = self.sets[id.0 as usize].attrs.len();
        let base = self.collected.len();
        for index in 0..n_attrs {
            let attr = self.sets[id.0 as usize].attrs[index];
            let binding = match attr.value {
                RawValue::Plain(raw) => {
                    let value = self.expr(raw, Place::Other)?;
                    Binding { value, scope: BindingScope::Inner }
                }
                RawValue::Inherited => match outer {
                    Some((mark, level)) => {
                        let inner_withs = self.withs.take();
                        let value = self.variable_at(attr.symbol, attr.pos, mark, level)?;
                        self.withs = inner_withs;
                        Binding { value, scope: BindingScope::Outer }
                    }
                    None => {
                        let value = self.variable(attr.symbol, attr.pos)?;
                        Binding { value, scope: BindingScope::Inner }
                    }
                },
                RawValue::InheritedFrom(source) => {
                    let base = Expr::Local { slot: first_source + source, pos: attr.pos };
                    let path = self.heap.alloc_slice([AttrName::Static(attr.symbol, attr.pos)]);
                    let cache = AtomicU64::new(u64::MAX);
                    let select = Select { base, path, default: None, pos: attr.pos, cache };
                    Binding { value: Expr::Select(self.heap.alloc(select)), scope: sources }
                }
            };
            self.collected.push(binding);
        }
        Ok(self.heap.alloc_slice(self.collected.drain(base..)))
    }

    /// Binds the attributes of a set to slots from `start` on.
    fn bind_set(&mut self, id: SetId, start: u32) {
        for (index, attr) in self.sets[id.0 as usize].attrs.iter().enumerate() {
            self.scopes.bind(attr.symbol, start + index as u32);
        }
    }

    fn let_in(&mut self, id: SetId, body: &'a Raw<'a>, place: Place) -> Lowered<Expr<'h>> {
        let set = &mut self.sets[id.0 as usize];
        set.sort();
        let n_attrs = set.attrs.len() as u32;
        let n_slots = n_attrs + set.sources.len() as u32;
        if n_slots == 0 {
            return self.expr(body, place);
        }
        let outer = (self.scopes.mark(), self.scopes.level());
        let mut start = 0;
        let outer_withs = self.withs;
        if place == Place::Spine {
            start = self.scopes.take_slots(n_slots);
        } else {
            self.scopes.enter_frame(n_slots);
            self.withs = None;
        }
        self.bind_set(id, start);
        let sources = self.sources(id)?;
        let bindings = self.bindings(id, Some(outer), start + n_attrs, BindingScope::Inner)?;
        let body = self.expr(body, Place::Spine)?;
        let frame = match place {
            Place::Spine => Frame::Current(start),
            _ => Frame::New(self.scopes.leave_frame()),
        };
        self.withs = outer_withs;
        self.scopes.unbind(outer.0);
        Ok(Expr::Let(self.heap.alloc(Let { bindings, sources, body, frame })))
    }

    fn with(
        &mut self,
        scope: &'a Raw<'a>,
        body: &'a Raw<'a>,
        pos: Pos,
        place: Place,
    ) -> Lowered<Expr<'h>> {
        let scope = self.expr(scope, Place::Other)?;
        let outer_withs = self.withs.take();
        let mut slot = 0;
        if place == Place::Spine {
            slot = self.scopes.take_slots(1);
        } else {
            self.scopes.enter_frame(1);
        }
        self.scopes.enter_with(slot, pos);
        let body = self.expr(body, Place::Spine)?;
        self.scopes.leave_with();
        let frame = match place {
            Place::Spine => Frame::Current(slot),
            _ => Frame::New(self.scopes.leave_frame()),
        };
        self.withs = outer_withs;
        Ok(Expr::With(self.heap.alloc(With { scope, body, frame, pos })))
    }

    fn set(&mut self, id: SetId) -> Lowered<Expr<'h>> {
        let heap = self.heap;
        let overrides_name = self.eval.names.overrides;
        let set = &mut self.sets[id.0 as usize];
        set.sort();
        let (recursive, pos) = (set.recursive, set.pos);
        let n_attrs = set.attrs.len() as u32;
        let n_slots = n_attrs + set.sources.len() as u32;
        self.names.clear();
        self.names.extend(set.attrs.iter().map(|attr| (attr.symbol, attr.pos)));
        let shape = heap.shape(&self.names);
        shape.set_place(pos);
        let outer = (self.scopes.mark(), self.scopes.level());
        let outer_withs = self.withs;
        let (sources, bindings);
        let mut overrides = None;
        if recursive {
            self.scopes.enter_frame(n_slots);
            self.withs = None;
            self.bind_set(id, 0);
            sources = self.sources(id)?;
            bindings = self.bindings(id, Some(outer), n_attrs, BindingScope::Inner)?;
            overrides = shape.find(overrides_name).map(|index| index as u32);
        } else {
            sources = self.sources(id)?;
            bindings = self.bindings(id, None, 0, BindingScope::Sources)?;
        }
        let mut dynamic = Vec::new();
        for binding in std::mem::take(&mut self.sets[id.0 as usize].dynamic) {
            let name = self.expr(binding.name, Place::Other)?;
            let value = self.expr(binding.value, Place::Other)?;
            dynamic.push(DynamicBinding { name, value, pos: binding.pos });
        }
        if recursive {
            self.scopes.leave_frame();
            self.withs = outer_withs;
            self.scopes.unbind(outer.0);
        }
        let dynamic = heap.alloc_slice(dynamic);
        let literal = AttrsLiteral { shape, bindings, sources, recursive, overrides, dynamic, pos };
        Ok(Expr::Attrs(heap.alloc(literal)))
    }
}

fn too_deep(pos: Pos) -> LowerError {
    let kind = LowerErrorKind::Syntax(crate::syntax::error::SyntaxErrorKind::TooDeep);
    LowerError { kind, pos }
}
