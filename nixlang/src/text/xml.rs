//! XML as `toXML` and `--xml` write it: two blanks per level, attributes in the order of their names.

/// Writes elements to a buffer.
#[derive(Debug)]
pub(crate) struct XmlWriter {
    output: Vec<u8>,
    open: Vec<&'static str>,
}

/// An attribute of an element.
pub(crate) type Attribute<'a> = (&'static str, &'a [u8]);

impl XmlWriter {
    /// Begins a document.
    pub(crate) fn new() -> XmlWriter {
        XmlWriter {
            output: b"<?xml version='1.0' encoding='utf-8'?>\n".to_vec(),
            open: Vec::new(),
        }
    }

    /// Returns how many bytes were written so far.
    pub(crate) fn len(&self) -> usize {
        self.output.len()
    }

    /// Opens an element. `attributes` must be in the order of their names.
    pub(crate) fn open(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.tag(name, attributes);
        self.output.extend_from_slice(b">\n");
        self.open.push(name);
    }

    /// Closes the element opened last.
    pub(crate) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.output.extend_from_slice(b"</");
            self.output.extend_from_slice(name.as_bytes());
            self.output.extend_from_slice(b">\n");
        }
    }

    /// Writes an element without content.
    pub(crate) fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.tag(name, attributes);
        self.output.extend_from_slice(b" />\n");
    }

    /// Writes text that is XML already, on lines of its own; nothing if it is empty.
    pub(crate) fn raw(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.indent();
            self.output.extend_from_slice(text);
            if !text.ends_with(b"\n") {
                self.output.push(b'\n');
            }
        }
    }

    /// Closes what is open and returns the document.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        self.output
    }

    fn indent(&mut self) {
        self.output.resize(self.output.len() + 2 * self.open.len(), b' ');
    }

    fn tag(&mut self, name: &str, attributes: &[Attribute<'_>]) {
        debug_assert!(attributes.is_sorted_by_key(|(name, _)| *name));
        self.indent();
        self.output.push(b'<');
        self.output.extend_from_slice(name.as_bytes());
        for (name, value) in attributes {
            self.output.push(b' ');
            self.output.extend_from_slice(name.as_bytes());
            self.output.extend_from_slice(b"=\"");
            self.escape(value);
            self.output.push(b'"');
        }
    }

    fn escape(&mut self, value: &[u8]) {
        for &byte in value {
            match byte {
                b'"' => self.output.extend_from_slice(b"&quot;"),
                b'<' => self.output.extend_from_slice(b"&lt;"),
                b'>' => self.output.extend_from_slice(b"&gt;"),
                b'&' => self.output.extend_from_slice(b"&amp;"),
                // A line feed would be read back as a blank.
                b'\n' => self.output.extend_from_slice(b"&#xA;"),
                byte => self.output.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_and_escapes() {
        let mut writer = XmlWriter::new();
        writer.open("expr", &[]);
        writer.open("attr", &[("name", b"a<b")]);
        writer.empty("string", &[("value", b"\"x\"\n&>")]);
        writer.close();
        writer.empty("null", &[]);
        assert_eq!(
            String::from_utf8(writer.finish()).expect("the input is ASCII"),
            "<?xml version='1.0' encoding='utf-8'?>\n<expr>\n  <attr name=\"a&lt;b\">\n    \
             <string value=\"&quot;x&quot;&#xA;&amp;&gt;\" />\n  </attr>\n  <null />\n</expr>\n"
        );
    }
}
