//! Values as JSON text (`toJSON`, `--json`), and JSON text as values (`fromJSON`).

use super::{Context, ContextSum};
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::host::internal;
use crate::source::Pos;
use crate::symbol::Symbol;
use crate::text::json::{self, JsonError, JsonSink, JsonStringError};
use crate::text::number;

/// JSON in the making.
struct JsonPrinter<'e, 'h> {
    eval: &'e Evaluator<'h>,
    out: Vec<u8>,
    references: ContextSum<'h>,
    copy_to_store: bool,
    /// The first string that isn't UTF-8. Reported at the end, after errors of the evaluation.
    failure: Option<JsonStringError>,
}

impl<'h> Evaluator<'h> {
    /// Evaluates a value and everything in it, and returns it as JSON, with the context of all strings in it.
    /// Paths become their copies in the store if `copy_to_store` says so.
    pub fn to_json(&self, value: Value<'h>, pos: Pos, copy_to_store: bool) -> EvalResult<(Vec<u8>, Option<&'h Context<'h>>)> {
        let mut printer = JsonPrinter { eval: self, out: Vec::new(), references: ContextSum::default(), copy_to_store, failure: None };
        printer.value(value, pos)?;
        match printer.failure {
            Some(failure) => Err(EvalError::new(ErrorKind::Evaluation, format!("JSON serialization error: {failure}"))),
            None => Ok((printer.out, self.contexts.sum(printer.references))),
        }
    }

    /// Reads JSON.
    pub fn from_json(&self, text: &[u8], pos: Pos) -> EvalResult<Value<'h>> {
        let mut builder = JsonBuilder { eval: self, open: Vec::new(), root: Value::NULL };
        json::parse(text, &mut builder).map_err(|error| {
            let failed = EvalError::new(ErrorKind::Evaluation, error.to_string());
            match error {
                JsonError::Syntax { .. } | JsonError::FloatOverflow { .. } => failed.while_(pos, "while decoding a JSON string"),
                JsonError::IntegerOverflow { .. } | JsonError::NullByte { .. } => failed,
            }
        })?;
        Ok(builder.root)
    }
}

impl<'h> JsonPrinter<'_, 'h> {
    fn string(&mut self, text: &[u8]) {
        if let Err(failure) = json::write_string(&mut self.out, text) {
            self.failure.get_or_insert(failure);
        }
    }

    fn value(&mut self, value: Value<'h>, pos: Pos) -> EvalResult<()> {
        let eval = self.eval;
        let _depth = eval.enter_call(pos)?;
        // What is shared in memory is not in the text.
        eval.charge(self.out.len())?;
        let value = eval.force_at(value, pos)?;
        match value.kind() {
            Kind::Null => self.out.extend_from_slice(b"null"),
            Kind::Bool(bool) => self.out.extend_from_slice(if bool { b"true" } else { b"false" }),
            Kind::Int(int) => self.out.extend_from_slice(int.to_string().as_bytes()),
            Kind::Float(float) => self.out.extend_from_slice(number::format_json(float).as_bytes()),
            Kind::String(string) => {
                self.references.add(string.context());
                self.string(string.bytes());
            }
            Kind::Path(path) if self.copy_to_store => {
                let copy = eval.copy_to_store(path.text.bytes())?;
                self.references.add(copy.context());
                self.string(copy.bytes());
            }
            Kind::Path(path) => self.string(internal::in_tree(path.text.bytes())),
            Kind::Attrs(attrs) => {
                if let Some(to_string) = attrs.find(eval.names.to_string) {
                    let result = eval.call(to_string.slot.get(), &[value], pos)?;
                    let context = "while evaluating the result of the `__toString` attribute";
                    let text = eval.coerce_to_string(result, pos, Coercion::PATH_SEGMENT, context)?;
                    self.references.add(text.context());
                    self.string(text.bytes());
                    return Ok(());
                }
                if let Some(out_path) = attrs.find(eval.names.out_path) {
                    return self.value(out_path.slot.get(), out_path.pos);
                }
                self.out.push(b'{');
                for (i, entry) in attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols).enumerate() {
                    if i > 0 {
                        self.out.push(b',');
                    }
                    self.string(eval.symbols.text(entry.symbol));
                    self.out.push(b':');
                    self.value(entry.slot.get(), entry.pos)
                        .map_err(|e| e.while_(entry.pos, format!("while evaluating attribute '{}'", eval.text(entry.symbol))))?;
                }
                self.out.push(b'}');
            }
            Kind::List(list) => {
                self.out.push(b'[');
                for (i, element) in list.iter().enumerate() {
                    if i > 0 {
                        self.out.push(b',');
                    }
                    self.value(element, pos).map_err(|e| e.while_(pos, format!("while evaluating list element at index {i}")))?;
                }
                self.out.push(b']');
            }
            Kind::External(external) => {
                let text = external.to_json(eval, self.copy_to_store).map_err(|e| e.at(pos))?;
                self.out.extend_from_slice(&text);
            }
            Kind::Lambda(_) | Kind::Builtin(_) | Kind::Partial(_) | Kind::Thunk(_) => {
                let message = format!("cannot convert {} to JSON", value.described_type());
                return Err(EvalError::new(ErrorKind::Type, message).at(pos));
            }
        }
        Ok(())
    }
}

/// Values in the making. Open arrays and objects are on a stack of its own.
struct JsonBuilder<'e, 'h> {
    eval: &'e Evaluator<'h>,
    open: Vec<Open<'h>>,
    root: Value<'h>,
}

enum Open<'h> {
    Array(Vec<Value<'h>>),
    /// The members so far, the name of the next.
    Object(Vec<(Symbol, Value<'h>)>, Symbol),
}

impl<'h> JsonBuilder<'_, 'h> {
    fn add(&mut self, value: Value<'h>) -> Result<(), JsonError> {
        match self.open.last_mut() {
            None => self.root = value,
            Some(Open::Array(items)) => items.push(value),
            Some(Open::Object(members, name)) => members.push((*name, value)),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), JsonError> {
        let value = match self.open.pop() {
            Some(Open::Array(items)) => Value::list(self.eval.heap.list(items)),
            // Of members of one name the last stays.
            Some(Open::Object(members, _)) => self.eval.attrs_of(members),
            None => unreachable!("the parser closes what it opened"),
        };
        self.add(value)
    }
}

impl JsonSink for JsonBuilder<'_, '_> {
    type Error = JsonError;

    fn null(&mut self) -> Result<(), JsonError> {
        self.add(Value::NULL)
    }

    fn boolean(&mut self, value: bool) -> Result<(), JsonError> {
        self.add(Value::bool(value))
    }

    fn integer(&mut self, value: i64) -> Result<(), JsonError> {
        self.add(self.eval.heap.int(value))
    }

    fn float(&mut self, value: f64) -> Result<(), JsonError> {
        self.add(self.eval.heap.float(value))
    }

    fn string(&mut self, value: &[u8]) -> Result<(), JsonError> {
        self.add(self.eval.heap.string(value))
    }

    fn begin_array(&mut self) -> Result<(), JsonError> {
        self.open.push(Open::Array(Vec::new()));
        Ok(())
    }

    fn end_array(&mut self) -> Result<(), JsonError> {
        self.close()
    }

    fn begin_object(&mut self) -> Result<(), JsonError> {
        self.open.push(Open::Object(Vec::new(), self.eval.names.epsilon));
        Ok(())
    }

    fn key(&mut self, key: &[u8]) -> Result<(), JsonError> {
        if let Some(Open::Object(_, name)) = self.open.last_mut() {
            *name = self.eval.symbols.intern(key);
        }
        Ok(())
    }

    fn end_object(&mut self) -> Result<(), JsonError> {
        self.close()
    }
}
