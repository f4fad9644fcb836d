use std::borrow::Cow;
use std::collections::HashMap;

use super::dialect::Dialect;
use super::node::{Id, Kind, Node};
use super::text;
use crate::formats::bytes::{Bytes, Problem};

/// What a pickle holds: all its values, each known to the others by its place.
#[derive(Debug)]
pub struct Values<'a, M> {
    /// All values. What one holds may come before or behind it.
    pub nodes: Vec<Node<'a, M>>,
    /// The value that was stored.
    pub root: Id,
    /// How many bytes it took: another pickle, or anything, may follow.
    pub end: usize,
}

/// The machine whose program a pickle is.
struct Machine<'a, D: Dialect<'a>> {
    input: Bytes<'a>,
    /// Where the instruction is that is being done.
    at: usize,
    dialect: D,
    nodes: Vec<Node<'a, D::Made>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

/// Reads the pickle with which `bytes` begin.
///
/// # Errors
///
/// What is wrong with it, and where: it ends early, is damaged, or the dialect refuses what it holds.
pub fn read<'a, D: Dialect<'a>>(
    bytes: &'a [u8],
    dialect: D,
) -> Result<Values<'a, D::Made>, Problem> {
    let mut machine = Machine {
        input: Bytes::new(bytes),
        at: 0,
        dialect,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = loop {
        machine.at = machine.input.offset();
        match machine.number::<1>("an instruction")? as u8 {
            b'.' => break machine.pop()?,
            instruction => machine.step(instruction)?,
        }
    };
    Ok(Values {
        nodes: machine.nodes,
        root,
        end: machine.input.offset(),
    })
}

impl<'a, D: Dialect<'a>> Machine<'a, D> {
    fn problem(&self, problem: impl Into<String>) -> Problem {
        Problem::new(self.at, problem)
    }

    fn step(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            // PROTO and FRAME: what follows says it all.
            0x80 => match self.number::<1>("the protocol")? {
                0..=5 => Ok(()),
                other => Err(self.problem(format!(
                    "the pickle has protocol {other}, known are 0 to 5: write it anew with \
                     `protocol=4`"
                ))),
            },
            0x95 => self.number::<8>("the length of a frame").map(drop),

            // The stack and the memory.
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'p' => self
                .line_number("a place")
                .and_then(|place| self.put(place)),
            b'q' => self
                .number::<1>("a place")
                .and_then(|place| self.put(place)),
            b'r' => self
                .number::<4>("a place")
                .and_then(|place| self.put(place)),
            0x94 => self.put(self.memo.len() as u64),
            b'g' => self
                .line_number("a place")
                .and_then(|place| self.fetch(place)),
            b'h' => self
                .number::<1>("a place")
                .and_then(|place| self.fetch(place)),
            b'j' => self
                .number::<4>("a place")
                .and_then(|place| self.fetch(place)),

            // Lists, tuples, dictionaries.
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b'l' => self.pop_mark().and_then(|ids| self.push(Node::List(ids))),
            b't' => self.pop_mark().and_then(|ids| self.push(Node::Tuple(ids))),
            b'd' => {
                let entries = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.set_items(&entries)
            }
            0x85..=0x87 => {
                let mut ids = Vec::new();
                for _ in 0x84..instruction {
                    ids.push(self.pop()?);
                }
                ids.reverse();
                self.push(Node::Tuple(ids))
            }
            b'a' => {
                let id = self.pop()?;
                self.append(&[id])
            }
            b'e' => self.pop_mark().and_then(|ids| self.append(&ids)),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            b'u' => self.pop_mark().and_then(|entries| self.set_items(&entries)),

            // What only looks like a call.
            b'c' => {
                let (module, name) = (self.line_text("a name")?, self.line_text("a name")?);
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module], &self.nodes[name]) {
                    // Text with escapes is not borrowed, and no name that Python writes here has any.
                    (&Node::Text(Cow::Borrowed(module)), &Node::Text(Cow::Borrowed(name))) => {
                        self.global(module, name)
                    }
                    _ => Err(self.problem("a name is no text: the file is damaged")),
                }
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                let built = self.dialect.build(&mut self.nodes, object, state);
                built.map_err(|problem| self.problem(problem))
            }
            b'Q' => {
                let reference = self.pop()?;
                let made = self.dialect.persistent(&self.nodes, reference);
                let made = made.map_err(|problem| self.problem(problem))?;
                self.push(Node::Made(made))
            }

            // Objects.
            0x81 if D::OBJECTS => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.call(class, arguments)
            }
            0x92 if D::OBJECTS => {
                let (_named, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(class, arguments)
            }
            b'i' if D::OBJECTS => {
                let (module, name) = (self.line_text("a name")?, self.line_text("a name")?);
                let arguments = self.pop_mark()?;
                self.global(module, name)?;
                let class = self.pop()?;
                self.call_with(class, arguments)
            }
            b'o' if D::OBJECTS => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return Err(self.problem("an object has no class: the file is damaged"));
                }
                let class = arguments.remove(0);
                self.call_with(class, arguments)
            }
            0x8f if D::OBJECTS => self.push(Node::List(Vec::new())),
            0x90 if D::OBJECTS => self.pop_mark().and_then(|ids| self.append(&ids)),
            0x91 if D::OBJECTS => self.pop_mark().and_then(|ids| self.push(Node::List(ids))),
            _ => {
                let scalar = self.scalar(instruction)?;
                self.push(scalar)
            }
        }
    }

    /// Instructions that push one value of their own.
    fn scalar(&mut self, instruction: u8) -> Result<Node<'a, D::Made>, Problem> {
        Ok(match instruction {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'I' => match self.line_text("a number")? {
                "00" => Node::Bool(false),
                "01" => Node::Bool(true),
                text => self.parse(text).map(Node::Int)?,
            },
            b'L' => {
                let text = self.line_text("a number")?;
                self.parse(text.trim_end_matches('L')).map(Node::Int)?
            }
            b'F' => {
                let text = self.line_text("a number")?;
                self.parse(text).map(Node::Float)?
            }
            b'K' => Node::Int(self.number::<1>("a number")? as i64),
            b'M' => Node::Int(self.number::<2>("a number")? as i64),
            b'J' => Node::Int(i64::from(self.number::<4>("a number")? as u32 as i32)),
            b'G' => Node::Float(f64::from_be_bytes(self.input.array("a number")?)),
            0x8a => self.long::<1>()?,
            0x8b => self.long::<4>()?,
            b'S' => {
                let line = self.input.line("text")?;
                let bytes = text::quoted(line).ok_or_else(|| self.problem("text is damaged"))?;
                Node::Bytes(Cow::Owned(bytes))
            }
            b'V' => {
                let line = self.input.line("text")?;
                let text =
                    text::raw_unicode(line).ok_or_else(|| self.problem("text is damaged"))?;
                Node::Text(Cow::Owned(text))
            }
            b'U' | b'C' => self.bytes::<1>()?,
            b'T' | b'B' => self.bytes::<4>()?,
            0x8e | 0x96 => self.bytes::<8>()?,
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            other => {
                let problem = match refused(other) {
                    Some(what) => self.dialect.refusal(what),
                    None => format!(
                        "{other:#04x} is no instruction: the file is damaged, or no pickle at all"
                    ),
                };
                return Err(self.problem(problem));
            }
        })
    }

    fn push(&mut self, node: Node<'a, D::Made>) -> Result<(), Problem> {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn top(&self) -> Result<Id, Problem> {
        let ground = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(ground..).unwrap_or_default();
        above.last().copied().ok_or_else(|| {
            self.problem("a value is wanted where there is none: the file is damaged")
        })
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let Some(mark) = self.marks.pop() else {
            let problem = "the values have no beginning: the file is damaged";
            return Err(self.problem(problem));
        };
        Ok(self.stack.split_off(mark))
    }

    fn put(&mut self, place: u64) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn fetch(&mut self, place: u64) -> Result<(), Problem> {
        let Some(&id) = self.memo.get(&place) else {
            let problem = format!("nothing was put at place {place}: the file is damaged");
            return Err(self.problem(problem));
        };
        self.stack.push(id);
        Ok(())
    }

    fn append(&mut self, ids: &[Id]) -> Result<(), Problem> {
        let top = self.top()?;
        match &mut self.nodes[top] {
            Node::List(list) => {
                list.extend(ids);
                Ok(())
            }
            Node::Made(_) if D::OBJECTS => Ok(()),
            other => {
                let problem = format!("a value is added to {}, not to a list", other.kind());
                Err(self.problem(problem))
            }
        }
    }

    fn set_items(&mut self, entries: &[Id]) -> Result<(), Problem> {
        let top = self.top()?;
        let (pairs, rest) = entries.as_chunks();
        match &mut self.nodes[top] {
            Node::Dict(entries) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            Node::Dict(_) => Err(self.problem("a key has no value: the file is damaged")),
            Node::Made(_) if D::OBJECTS => Ok(()),
            other => {
                let problem = format!("an entry is added to {}, not to a dictionary", other.kind());
                Err(self.problem(problem))
            }
        }
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Problem> {
        let made = self.dialect.global(module, name);
        let made = made.map_err(|problem| self.problem(problem))?;
        self.push(Node::Made(made))
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<(), Problem> {
        let made = self.dialect.call(&self.nodes, function, arguments);
        let made = made.map_err(|problem| self.problem(problem))?;
        self.push(made)
    }

    fn call_with(&mut self, class: Id, arguments: Vec<Id>) -> Result<(), Problem> {
        self.push(Node::Tuple(arguments))?;
        let arguments = self.pop()?;
        self.call(class, arguments)
    }

    /// The next `N` bytes as a number.
    fn number<const N: usize>(&mut self, what: &str) -> Result<u64, Problem> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.input.take(N, what)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// A length of `N` bytes and as many bytes.
    fn sized<const N: usize>(&mut self, what: &str) -> Result<&'a [u8], Problem> {
        let length = self.number::<N>("a length")?;
        // What does not fit is larger than any file.
        self.input
            .take(usize::try_from(length).unwrap_or(usize::MAX), what)
    }

    fn bytes<const N: usize>(&mut self) -> Result<Node<'a, D::Made>, Problem> {
        Ok(Node::Bytes(Cow::Borrowed(self.sized::<N>("bytes")?)))
    }

    fn text<const N: usize>(&mut self) -> Result<Node<'a, D::Made>, Problem> {
        let text = str::from_utf8(self.sized::<N>("text")?)
            .map_err(|_| self.problem("text is not UTF-8: the file is damaged"))?;
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    /// A number in as few bytes as it needs.
    fn long<const N: usize>(&mut self) -> Result<Node<'a, D::Made>, Problem> {
        let bytes = self.sized::<N>("a number")?;
        let negative = bytes.last().is_some_and(|&last| last > 0x7f);
        if bytes.len() > 8 {
            if !D::OBJECTS {
                let what = "a number of more than 64 bits";
                return Err(self.problem(self.dialect.refusal(what)));
            }
            let places = bytes.iter().rev().enumerate();
            let wide = places.fold(0.0, |number, (place, &byte)| {
                let digit = match place == 0 && negative {
                    true => f64::from(byte as i8),
                    false => f64::from(byte),
                };
                number * 256.0 + digit
            });
            return Ok(Node::Float(wide));
        }
        let mut number = if negative { [0xff; 8] } else { [0; 8] };
        number[..bytes.len()].copy_from_slice(bytes);
        Ok(Node::Int(i64::from_le_bytes(number)))
    }

    fn line_text(&mut self, what: &str) -> Result<&'a str, Problem> {
        let line = str::from_utf8(self.input.line(what)?);
        line.map(str::trim_ascii)
            .map_err(|_| self.problem(format!("{what} is not UTF-8")))
    }

    fn line_number(&mut self, what: &str) -> Result<u64, Problem> {
        let text = self.line_text(what)?;
        self.parse(text)
    }

    fn parse<T: std::str::FromStr>(&self, text: &str) -> Result<T, Problem> {
        text.parse().map_err(|_| {
            self.problem(format!(
                "`{text}` is no number, or too large: the file is damaged"
            ))
        })
    }
}

/// What an instruction makes that is known but not done.
fn refused(instruction: u8) -> Option<&'static str> {
    Some(match instruction {
        b'P' | b'Q' => "a reference to something outside the file",
        b'i' | b'o' | 0x81 | 0x92 => "an object of a class",
        0x82..=0x84 => "an extension code",
        0x8f..=0x91 => "a set",
        0x97 | 0x98 => "data outside the file",
        _ => return None,
    })
}
