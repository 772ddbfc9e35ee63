//! Reads a pickled dictionary of `float32` arrays, and nothing else.
//!
//! A pickle is a program for a stack machine. Only the instructions and the four names that a dictionary of NumPy arrays needs are
//! known here; nothing is ever called, and whatever else turns up ends the reading with its name.

use std::{collections::HashMap, rc::Rc};

/// One array, in row-major order.
#[derive(Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    /// Little-endian `float32`.
    pub(crate) bytes: Vec<u8>,
}

/// Why a pickle was not read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum PickleError {
    #[error("the pickle ends in the middle")]
    Truncated,
    #[error("the pickle holds the instruction {0:#04x}, which no dictionary of arrays needs")]
    Instruction(u8),
    #[error("the pickle names {0}, which no dictionary of arrays needs")]
    Name(String),
    #[error("the pickle is not a dictionary of float32 arrays: {0}")]
    Structure(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Name {
    Reconstruct,
    Ndarray,
    Dtype,
    Encode,
}

#[derive(Clone, Debug)]
enum Value {
    Mark,
    None,
    Bool(bool),
    Integer(i64),
    Text(Rc<str>),
    Bytes(Rc<Vec<u8>>),
    Tuple(Rc<Vec<Value>>),
    Name(Name),
    Dictionary,
    /// An array or a type, by its place among the objects: later instructions change it.
    Object(usize),
}

#[derive(Debug)]
enum Object {
    Dtype { is_float32: bool },
    EmptyArray,
    Array(Option<Array>),
}

struct Machine<'a> {
    input: &'a [u8],
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
    entries: Vec<(String, Array)>,
}

/// The entries of a pickled dictionary, in their order.
pub(crate) fn read_arrays(pickle: &[u8]) -> Result<Vec<(String, Array)>, PickleError> {
    let mut machine = Machine {
        input: pickle,
        stack: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        entries: Vec::new(),
    };
    while machine.step()? {}
    match machine.stack.as_slice() {
        [Value::Dictionary] => Ok(machine.entries),
        _ => Err(PickleError::Structure("its result is something else")),
    }
}

impl Machine<'_> {
    /// One instruction; `false` after the last.
    fn step(&mut self) -> Result<bool, PickleError> {
        let value = match self.byte()? {
            b'.' => return Ok(false),
            0x80 => return self.protocol(),
            b'q' => return self.remember(1),
            b'r' => return self.remember(4),
            b's' | b'u' => return self.set_items(),
            b'b' => return self.build(),
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'}' => Value::Dictionary,
            b'(' => Value::Mark,
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Integer(i64::from(self.number(1)?)),
            b'M' => Value::Integer(i64::from(self.number(2)?)),
            b'J' => Value::Integer(i64::from(self.number(4)?.cast_signed())),
            b'X' => self.text()?,
            b')' => Value::Tuple(Rc::default()),
            b't' => Value::Tuple(Rc::new(self.since_mark()?)),
            b'c' => self.name()?,
            b'R' => self.reduce()?,
            count @ 0x85..=0x87 => self.short_tuple(usize::from(count - 0x84))?,
            other => return Err(PickleError::Instruction(other)),
        };
        self.stack.push(value);
        Ok(true)
    }

    fn protocol(&mut self) -> Result<bool, PickleError> {
        match self.byte()? {
            2 => Ok(true),
            _ => Err(PickleError::Structure("its protocol is not 2")),
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], PickleError> {
        let (taken, rest) = self.input.split_at_checked(count).ok_or(PickleError::Truncated)?;
        self.input = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned little-endian number of up to 4 bytes.
    fn number(&mut self, bytes: usize) -> Result<u32, PickleError> {
        Ok(self
            .take(bytes)?
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn text(&mut self) -> Result<Value, PickleError> {
        let length = self.number(4)? as usize;
        let text =
            std::str::from_utf8(self.take(length)?).map_err(|_| PickleError::Structure("a text is not UTF-8"))?;
        Ok(Value::Text(text.into()))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let length = self
            .input
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(PickleError::Truncated)?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte()?;
        Ok(line)
    }

    fn name(&mut self) -> Result<Value, PickleError> {
        let (module, name) = (self.line()?, self.line()?);
        Ok(Value::Name(match (module.as_str(), name.as_str()) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Name::Reconstruct,
            ("numpy", "ndarray") => Name::Ndarray,
            ("numpy", "dtype") => Name::Dtype,
            ("_codecs", "encode") => Name::Encode,
            _ => return Err(PickleError::Name(format!("{module}.{name}"))),
        }))
    }

    fn remember(&mut self, bytes: usize) -> Result<bool, PickleError> {
        let index = self.number(bytes)?;
        let value = self
            .stack
            .last()
            .ok_or(PickleError::Structure("its stack is empty"))?
            .clone();
        self.memo.insert(index, value);
        Ok(true)
    }

    fn recall(&mut self, bytes: usize) -> Result<Value, PickleError> {
        let index = self.number(bytes)?;
        self.memo
            .get(&index)
            .cloned()
            .ok_or(PickleError::Structure("it recalls what it never kept"))
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        self.stack.pop().ok_or(PickleError::Structure("its stack is empty"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self
            .stack
            .iter()
            .rposition(|value| matches!(value, Value::Mark))
            .ok_or(PickleError::Structure("a mark is missing"))?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn short_tuple(&mut self, count: usize) -> Result<Value, PickleError> {
        let start = self
            .stack
            .len()
            .checked_sub(count)
            .ok_or(PickleError::Structure("its stack is empty"))?;
        Ok(Value::Tuple(Rc::new(self.stack.split_off(start))))
    }

    /// The four calls that are known, carried out here.
    fn reduce(&mut self) -> Result<Value, PickleError> {
        let (Value::Tuple(arguments), Value::Name(name)) = (self.pop()?, self.pop()?) else {
            return Err(PickleError::Structure("it calls something without a name"));
        };
        match (name, arguments.as_slice()) {
            (Name::Encode, [Value::Text(text), Value::Text(encoding)]) if &**encoding == "latin1" => {
                let bytes = text.chars().map(u8::try_from).collect::<Result<Vec<_>, _>>();
                let bytes = bytes.map_err(|_| PickleError::Structure("a byte is written as a character above 255"))?;
                Ok(Value::Bytes(Rc::new(bytes)))
            }
            (Name::Dtype, [Value::Text(kind), ..]) => {
                if &**kind != "f4" {
                    return Err(PickleError::Structure("an array is not float32"));
                }
                Ok(self.new_object(Object::Dtype { is_float32: false }))
            }
            (Name::Reconstruct, [Value::Name(Name::Ndarray), ..]) => Ok(self.new_object(Object::EmptyArray)),
            _ => Err(PickleError::Structure("a call has other arguments than expected")),
        }
    }

    fn new_object(&mut self, object: Object) -> Value {
        self.objects.push(object);
        Value::Object(self.objects.len() - 1)
    }

    /// Gives an object its state.
    fn build(&mut self) -> Result<bool, PickleError> {
        let state = self.pop()?;
        let (Value::Tuple(state), Some(Value::Object(index))) = (state, self.stack.last()) else {
            return Err(PickleError::Structure("it gives a state to something that has none"));
        };
        let built = match (&self.objects[*index], state.as_slice()) {
            (Object::Dtype { .. }, [Value::Integer(3), Value::Text(order), ..]) => Object::Dtype {
                is_float32: &**order == "<",
            },
            (
                Object::EmptyArray,
                [
                    Value::Integer(1),
                    Value::Tuple(shape),
                    Value::Object(dtype),
                    Value::Bool(false),
                    Value::Bytes(bytes),
                ],
            ) => {
                if !matches!(self.objects[*dtype], Object::Dtype { is_float32: true }) {
                    return Err(PickleError::Structure("an array is not little-endian float32"));
                }
                Object::Array(Some(array(shape, bytes)?))
            }
            _ => return Err(PickleError::Structure("a state is of another form than expected")),
        };
        self.objects[*index] = built;
        Ok(true)
    }

    fn set_items(&mut self) -> Result<bool, PickleError> {
        let values = self.since_mark()?;
        if !matches!(self.stack.last(), Some(Value::Dictionary)) || values.len() % 2 != 0 {
            return Err(PickleError::Structure("items go into something else than a dictionary"));
        }
        for pair in values.chunks_exact(2) {
            let [Value::Text(key), Value::Object(index)] = pair else {
                return Err(PickleError::Structure("an item is not a name and an array"));
            };
            let Object::Array(array) = &mut self.objects[*index] else {
                return Err(PickleError::Structure("an item is not an array"));
            };
            let array = array.take().ok_or(PickleError::Structure("an array is there twice"))?;
            self.entries.push((key.as_ref().to_owned(), array));
        }
        Ok(true)
    }
}

fn array(shape: &[Value], bytes: &[u8]) -> Result<Array, PickleError> {
    let shape = shape
        .iter()
        .map(|value| match value {
            Value::Integer(size) => usize::try_from(*size).map_err(|_| PickleError::Structure("a size is negative")),
            _ => Err(PickleError::Structure("a size is not a number")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let expected = shape
        .iter()
        .try_fold(size_of::<f32>(), |product, size| product.checked_mul(*size));
    if expected != Some(bytes.len()) {
        return Err(PickleError::Structure("an array's bytes do not fill its shape"));
    }
    Ok(Array {
        shape,
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests;
