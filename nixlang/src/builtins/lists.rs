//! Lists.

use super::Definition;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, List, Value};
use crate::source::Pos;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("length", &["e"], length).strict(1).doc("Returns the number of elements."),
    Definition::new("head", &["list"], head).strict(1).doc("Returns the first element."),
    Definition::new("tail", &["list"], tail).strict(1).doc("Returns the list without its first element."),
    Definition::new("elemAt", &["xs", "n"], elem_at).doc("Returns element *n*, counted from 0."),
    Definition::new("map", &["f", "list"], map).global().doc("Applies *f* to every element."),
    Definition::new("filter", &["f", "list"], filter).doc("Returns the elements for which *f* returns true."),
    Definition::new("elem", &["x", "xs"], elem).doc("Returns whether *xs* has an element equal to *x*."),
    Definition::new("concatLists", &["lists"], concat_lists).strict(1).doc("Joins a list of lists."),
    Definition::new("concatMap", &["f", "list"], concat_map).doc("Applies *f* to every element and joins the resulting lists."),
    Definition::new("foldl'", &["op", "nul", "list"], foldl).doc("Reduces a list from the left, evaluating every intermediate result."),
    Definition::new("any", &["pred", "list"], any).doc("Returns whether *pred* returns true for some element."),
    Definition::new("all", &["pred", "list"], all).doc("Returns whether *pred* returns true for all elements."),
    Definition::new("genList", &["generator", "length"], gen_list).doc("Returns the list of `generator i` for `i` from 0 on."),
    Definition::new("sort", &["comparator", "list"], sort).doc("Sorts a list; elements that are equal keep their order."),
    Definition::new("partition", &["pred", "list"], partition).doc("Returns `{ right, wrong }`: the elements for which *pred* returns true, and the others."),
    Definition::new("groupBy", &["f", "list"], group_by).doc("Returns a set of lists: the elements by the string that *f* returns for them."),
    Definition::new("genericClosure", &["attrset"], generic_closure).doc("Computes the transitive closure of `startSet` under `operator`; elements are told apart by `key`."),
];

fn length<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    Ok(eval.heap.int(eval.force_list(args[0], pos, "while evaluating the first argument passed to builtins.length")?.len() as i64))
}

fn head<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[0], pos, "while evaluating the first argument passed to 'builtins.head'")?;
    match list.slots() {
        [first, ..] => eval.force_slot_at(first, pos),
        [] => Err(EvalError::new(ErrorKind::Evaluation, "'builtins.head' called on an empty list").at(pos)),
    }
}

fn tail<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[0], pos, "while evaluating the first argument passed to 'builtins.tail'")?;
    if list.is_empty() {
        return Err(EvalError::new(ErrorKind::Evaluation, "'builtins.tail' called on an empty list").at(pos));
    }
    Ok(Value::list(eval.heap.list(list.slots()[1..].iter().map(|slot| slot.get()))))
}

fn elem_at<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let index = eval.force_int(args[1], pos, "while evaluating the second argument passed to 'builtins.elemAt'")?;
    let list = eval.force_list(args[0], pos, "while evaluating the first argument passed to 'builtins.elemAt'")?;
    match usize::try_from(index).ok().and_then(|index| list.slots().get(index)) {
        Some(slot) => eval.force_slot_at(slot, pos),
        None => {
            let message = format!("'builtins.elemAt' called with index {index} on a list of size {}", list.len());
            Err(EvalError::new(ErrorKind::Evaluation, message).at(pos))
        }
    }
}

fn map<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.map")?;
    if list.is_empty() {
        return Ok(Value::list(list));
    }
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.map")?;
    Ok(Value::list(eval.heap.list(list.iter().map(|element| eval.heap.thunk_call(function, &[element])))))
}

fn filter<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.filter")?;
    if list.is_empty() {
        return Ok(Value::list(list));
    }
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.filter")?;
    let mut kept = Vec::with_capacity(list.len());
    for element in list.iter() {
        let keep = eval.call(function, &[element], Pos::NONE)?;
        if eval.force_bool(keep, pos, "while evaluating the return value of the filtering function passed to builtins.filter")? {
            kept.push(element);
        }
    }
    Ok(Value::list(if kept.len() == list.len() { list } else { eval.heap.list(kept) }))
}

fn elem<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.elem")?;
    for element in list.iter() {
        // The same cell is equal to itself, whatever it is.
        if eval.equal(args[0], element, pos, "while searching for the presence of the given element in the list")? || element == args[0] {
            return Ok(Value::TRUE);
        }
    }
    Ok(Value::FALSE)
}

fn concat_lists<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[0], pos, "while evaluating the first argument passed to builtins.concatLists")?;
    let lists = list
        .iter()
        .map(|element| eval.force_list(element, pos, "while evaluating a value of the list passed to builtins.concatLists"))
        .collect::<EvalResult<Vec<List<'h>>>>()?;
    eval.concat_lists(&lists)
}

fn concat_map<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.concatMap")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.concatMap")?;
    let place = match function.kind() {
        Kind::Lambda(closure) => closure.lambda.positions.first().copied().unwrap_or(pos),
        _ => pos,
    };
    let mut lists = Vec::with_capacity(list.len());
    for element in list.iter() {
        let result = eval.call(function, &[element], pos)?;
        lists.push(eval.force_list(result, place, "while evaluating the return value of the function passed to builtins.concatMap")?);
    }
    eval.concat_lists(&lists)
}

fn foldl<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.foldlStrict")?;
    let list = eval.force_list(args[2], pos, "while evaluating the third argument passed to builtins.foldlStrict")?;
    let mut result = args[1];
    for element in list.iter() {
        result = eval.call(function, &[result, element], pos)?;
    }
    eval.force_at(result, pos)
}

fn any<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.any")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.any")?;
    for element in list.iter() {
        let found = eval.call(function, &[element], pos)?;
        if eval.force_bool(found, pos, "while evaluating the return value of the function passed to builtins.any")? {
            return Ok(Value::TRUE);
        }
    }
    Ok(Value::FALSE)
}

fn all<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.all")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.all")?;
    for element in list.iter() {
        let found = eval.call(function, &[element], pos)?;
        if !eval.force_bool(found, pos, "while evaluating the return value of the function passed to builtins.all")? {
            return Ok(Value::FALSE);
        }
    }
    Ok(Value::TRUE)
}

fn gen_list<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let length = eval.force_int(args[1], pos, "while evaluating the second argument passed to builtins.genList")?;
    let Ok(n_elements) = usize::try_from(length) else {
        return Err(EvalError::new(ErrorKind::Evaluation, format!("cannot create list of size {length}")).at(pos));
    };
    let function = eval.force_function(args[0], Pos::NONE, "while evaluating the first argument passed to builtins.genList")?;
    eval.charge(n_elements.saturating_mul(4 * size_of::<Value<'h>>()))?;
    Ok(Value::list(eval.heap.list((0..n_elements).map(|i| eval.heap.thunk_call(function, &[eval.heap.int(i as i64)])))))
}

fn sort<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.sort")?;
    if list.is_empty() {
        return Ok(Value::list(list));
    }
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.sort")?;
    for slot in list.slots() {
        eval.force_slot_at(slot, pos)?;
    }
    let plain = matches!(function.kind(), Kind::Builtin(builtin) if builtin.name == "lessThan");
    let mut less = |a: Value<'h>, b: Value<'h>| {
        if plain {
            return eval.less_than(a, b, Pos::NONE, "while evaluating the ordering function passed to builtins.sort");
        }
        let result = eval.call(function, &[a, b], Pos::NONE)?;
        eval.force_bool(result, pos, "while evaluating the return value of the sorting function passed to builtins.sort")
    };
    let mut elements: Vec<Value<'h>> = list.iter().collect();
    super::sort::peek_sort(&mut elements, &mut less)?;
    Ok(Value::list(eval.heap.list(elements)))
}

fn partition<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.partition")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.partition")?;
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for slot in list.slots() {
        eval.force_slot_at(slot, pos)?;
        let result = eval.call(function, &[slot.get()], pos)?;
        let is_right = eval.force_bool(result, pos, "while evaluating the return value of the partition function passed to builtins.partition")?;
        if is_right { &mut right } else { &mut wrong }.push(slot.get());
    }
    let lists = [(eval.names.right, right), (eval.names.wrong, wrong)];
    Ok(eval.attrs_of(lists.map(|(name, list)| (name, Value::list(eval.heap.list(list))))))
}

fn group_by<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let function = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.groupBy")?;
    let list = eval.force_list(args[1], pos, "while evaluating the second argument passed to builtins.groupBy")?;
    let mut groups: std::collections::BTreeMap<crate::symbol::Symbol, Vec<Value<'h>>> = Default::default();
    for element in list.iter() {
        let name = eval.call(function, &[element], pos)?;
        let name = eval.force_string_no_context(name, pos, "while evaluating the return value of the grouping function passed to builtins.groupBy")?;
        groups.entry(eval.symbols.intern(name.bytes())).or_default().push(element);
    }
    Ok(eval.attrs_of(groups.into_iter().map(|(name, group)| (name, Value::list(eval.heap.list(group))))))
}

fn generic_closure<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], _pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], Pos::NONE, "while evaluating the first argument passed to builtins.genericClosure")?;
    let start_set = super::attrs::required(eval, attrs, eval.names.start_set, "in the attrset passed as argument to builtins.genericClosure")?;
    let start_set =
        eval.force_list(start_set.slot.get(), Pos::NONE, "while evaluating the 'startSet' attribute passed as argument to builtins.genericClosure")?;
    if start_set.is_empty() {
        return Ok(Value::list(start_set));
    }
    let operator = super::attrs::required(eval, attrs, eval.names.operator, "in the attrset passed as argument to builtins.genericClosure")?;
    let operator =
        eval.force_function(operator.slot.get(), Pos::NONE, "while evaluating the 'operator' attribute passed as argument to builtins.genericClosure")?;
    let mut work: std::collections::VecDeque<Value<'h>> = start_set.iter().collect();
    let mut seen = KeySet::default();
    let mut result = Vec::new();
    while let Some(element) = work.pop_front() {
        let shown = |what: &str| format!("{what} {}", eval.show_for_error(element));
        let forced = eval
            .force_attrs(element, Pos::NONE, "")
            .and_then(|attrs| super::attrs::required(eval, attrs, eval.names.key, ""))
            .map_err(|e| e.while_(Pos::NONE, shown("in genericClosure element")))?;
        eval.force_slot_at(forced.slot, Pos::NONE)?;
        if !seen.insert(eval, forced.slot.get(), element)? {
            continue;
        }
        result.push(element);
        let with_context = |e: EvalError| e.while_(Pos::NONE, shown("while calling operator on genericClosure element"));
        let more = eval.call(operator, &[element], Pos::NONE).map_err(with_context)?;
        let more = eval
            .force_list(more, Pos::NONE, "while evaluating the return value of the `operator` passed to builtins.genericClosure")
            .map_err(with_context)?;
        for element in more.iter() {
            eval.force(element).map_err(with_context)?;
            work.push_back(element);
        }
    }
    Ok(Value::list(eval.heap.list(result)))
}

/// A set of keys ordered as `<` orders them, each with the element that it came from: a sorted vector, and a hash table for what needs no comparison.
#[derive(Default)]
struct KeySet<'h> {
    sorted: Vec<(Value<'h>, Value<'h>)>,
    strings: rustc_hash::FxHashSet<&'h [u8]>,
}

impl<'h> KeySet<'h> {
    /// Adds a key; returns whether it is new.
    fn insert(&mut self, eval: &Evaluator<'h>, key: Value<'h>, element: Value<'h>) -> EvalResult<bool> {
        if let Kind::String(string) = key.kind()
            && self.sorted.is_empty()
        {
            return Ok(self.strings.insert(string.bytes()));
        }
        if !self.strings.is_empty() {
            // A key of another type among strings: the comparison fails, as it should.
            let mut strings: Vec<&'h [u8]> = self.strings.drain().collect();
            strings.sort_unstable();
            self.sorted = strings.into_iter().map(|text| (eval.heap.string(text), Value::NULL)).collect();
        }
        let (mut low, mut high) = (0, self.sorted.len());
        while low < high {
            let middle = (low + high) / 2;
            let (other, other_element) = self.sorted[middle];
            // The new key is on the left, which shows in the error for keys that can't be compared.
            if self.less(eval, key, other, element, other_element)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if let Some((other, other_element)) = low.checked_sub(1).map(|before| self.sorted[before])
            && !self.less(eval, other, key, element, other_element)?
        {
            return Ok(false);
        }
        self.sorted.insert(low, (key, element));
        Ok(true)
    }

    fn less(&self, eval: &Evaluator<'h>, a: Value<'h>, b: Value<'h>, element: Value<'h>, other: Value<'h>) -> EvalResult<bool> {
        eval.less_than(a, b, Pos::NONE, "").map_err(|e| {
            e.while_(Pos::NONE, format!("with element {}", eval.show_for_error(other)))
                .while_(Pos::NONE, format!("while comparing element {}", eval.show_for_error(element)))
        })
    }
}
