//! Evaluates an expression and prints its value. Run: `cargo run --bin evaluate_expression -- '1 + 1'`

use nixlang::eval::{EvalOptions, session};
use nixlang::host::OsHost;
use nixlang::source::Origin;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let expression = std::env::args().nth(1).ok_or("usage: evaluate_expression EXPRESSION")?;
    let directory = std::env::current_dir()?;
    let printed = session(|| Box::new(OsHost::default()), EvalOptions::default(), |eval| {
        let base = directory.as_os_str().as_encoded_bytes();
        let value = eval.eval_text(expression.as_bytes(), Origin::String, base).and_then(|value| eval.force_deep(value));
        // Errors carry positions of this evaluator's sources, so they are made readable in here.
        value.and_then(|value| eval.print_plain(value)).map_err(|error| format!("{error} (at {})", eval.show_pos(error.data().pos)))
    })??;
    println!("{}", String::from_utf8_lossy(&printed));
    Ok(())
}
