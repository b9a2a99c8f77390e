//! Markdown on a terminal: paragraphs are filled, code has a bar at its left, emphasis becomes colour where there is any.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Columns that are left free at the right.
const MARGIN: usize = 5;
const LEAST_WIDTH: usize = 60;

/// Returns how wide text may be on this terminal.
pub(super) fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    columns.saturating_sub(MARGIN).max(LEAST_WIDTH)
}

/// Returns a text as it looks on a terminal, without a line feed at its end.
pub(super) fn render(text: &str, width: usize, colour: bool) -> String {
    let mut page = Page { colour, width, ..Page::default() };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_DEFINITION_LIST) {
        page.event(event);
    }
    page.end_block();
    page.out.trim_end().to_owned()
}

#[derive(Default)]
struct Page {
    out: String,
    width: usize,
    colour: bool,
    /// What begins the lines of this block: after the first, and the first.
    indents: Vec<(String, String)>,
    /// The words of the paragraph so far, as one line; `\u{b}` stands for a break.
    line: String,
    /// Whether the text is code, line by line.
    in_code: bool,
    /// The next number of each list around, if it has numbers.
    lists: Vec<Option<u64>>,
    link: String,
    /// Whether the last block may be followed at once by the next (list items).
    tight: bool,
}

impl Page {
    fn style(&mut self, code: &str) {
        if self.colour {
            self.line.push_str(&format!("\x1b[{code}m"));
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                for line in text.lines() {
                    self.begin_line();
                    let line = format!("  │ {line}");
                    self.out.push_str(line.trim_end());
                    self.out.push('\n');
                }
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.line.push_str(&text),
            Event::Code(text) => {
                self.style("1");
                self.line.push_str(&text);
                self.style("0");
            }
            Event::SoftBreak => self.line.push(' '),
            Event::HardBreak => self.line.push('\u{b}'),
            Event::Rule => {
                self.line.push_str("────────");
                self.end_block();
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.end_block();
                self.style(if level == HeadingLevel::H1 { "1;4" } else { "1" });
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.end_block();
                self.in_code = true;
            }
            Tag::BlockQuote(_) => {
                self.end_block();
                self.indents.push(("  > ".into(), "  > ".into()));
            }
            Tag::List(first) => {
                self.end_block();
                self.lists.push(first);
            }
            Tag::Item => {
                self.end_block();
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".into(),
                };
                self.indents.push((" ".repeat(mark.len() + 2), format!("  {mark}")));
                self.tight = true;
            }
            Tag::Emphasis => self.style("3"),
            Tag::Strong => self.style("1"),
            Tag::Link { dest_url, .. } => self.link = dest_url.into_string(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.style("0");
                self.end_block();
            }
            TagEnd::Paragraph | TagEnd::TableRow | TagEnd::TableHead => self.end_block(),
            TagEnd::TableCell => self.line.push_str("  "),
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.tight = false;
                self.out.push('\n');
            }
            TagEnd::BlockQuote(_) => {
                self.end_block();
                self.indents.pop();
            }
            TagEnd::Item => {
                self.end_block();
                self.indents.pop();
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.tight = false;
                    self.out.push('\n');
                }
            }
            TagEnd::Emphasis | TagEnd::Strong => self.style("0"),
            TagEnd::Link => {
                let link = std::mem::take(&mut self.link);
                if link.contains("://") {
                    self.line.push_str(&format!(" ({link})"));
                }
            }
            _ => {}
        }
    }

    /// Writes what begins a line.
    fn begin_line(&mut self) {
        for (rest, first) in &mut self.indents {
            self.out.push_str(&std::mem::replace(first, rest.clone()));
        }
    }

    /// Writes the paragraph, filled.
    fn end_block(&mut self) {
        let text = std::mem::take(&mut self.line);
        if text.trim().is_empty() {
            return;
        }
        let indent: usize = self.indents.iter().map(|(rest, _)| rest.len()).sum();
        let room = self.width.saturating_sub(indent).max(20);
        for part in text.split('\u{b}') {
            let mut line = String::new();
            for word in part.split_whitespace() {
                if !line.is_empty() && visible(&line) + 1 + visible(word) > room {
                    self.begin_line();
                    self.out.push_str(&std::mem::take(&mut line));
                    self.out.push('\n');
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            self.begin_line();
            self.out.push_str(&line);
            self.out.push('\n');
        }
        if !self.tight {
            self.out.push('\n');
        }
    }
}

/// Returns how many columns a text takes: its characters, without escape sequences.
fn visible(text: &str) -> usize {
    let mut n_columns = 0;
    let mut in_escape = false;
    for character in text.chars() {
        match character {
            '\x1b' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => n_columns += 1,
        }
    }
    n_columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(render(text, 30, false), expected);
    }

    #[test]
    fn blocks() {
        check("**Synopsis:** `builtins.head` *list*\n\nReturns the first element of a list.", "Synopsis: builtins.head list\n\nReturns the first element of a\nlist.");
        check("For example,\n\n```nix\nmap f\n\n  x\n```\n\ngives", "For example,\n\n  │ map f\n  │\n  │   x\n\ngives");
        check("- one\n- two words that are long enough\n\nend", "  - one\n  - two words that are long\n    enough\n\nend");
        check("3. a\n4. b", "  3. a\n  4. b");
        check("Function `f`\\\n  … defined at x:1:1", "Function f\n… defined at x:1:1");
        check("[text](https://example.org)", "text (https://example.org)");
    }

    #[test]
    fn colours_take_no_room() {
        assert_eq!(render("a `b` *c*", 30, true), "a \x1b[1mb\x1b[0m \x1b[3mc\x1b[0m");
    }
}
