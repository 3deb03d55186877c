//! Whether a file already has the contents that would be written, without memory for either.

use std::io::{self, ErrorKind, Read, Write};

/// How much of the source is read at a time, in bytes.
const CHUNK: usize = 16 << 10;

/// A sink that takes only what its source says, too.
pub(super) struct Comparison<R> {
    source: R,
    chunk: Vec<u8>,
    differs: bool,
}

/// Whether `write` writes just what the source has. If so, returns what `write` returns. Only a
/// source that cannot be read is an error.
pub(super) fn compare<R: Read, T>(
    source: R,
    write: impl FnOnce(&mut Comparison<R>) -> io::Result<T>,
) -> io::Result<Option<T>> {
    let mut sink = Comparison { source, chunk: vec![0; CHUNK], differs: false };
    match write(&mut sink) {
        Ok(written) => Ok((sink.source.read(&mut sink.chunk)? == 0).then_some(written)),
        Err(_) if sink.differs => Ok(None),
        Err(error) => Err(error),
    }
}

impl<R: Read> Write for Comparison<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(CHUNK);
        let (Some(found), Some(bytes)) = (self.chunk.get_mut(..length), bytes.get(..length)) else {
            return Ok(0);
        };
        let result = self.source.read_exact(found);
        let is_short = result.as_ref().is_err_and(|e| e.kind() == ErrorKind::UnexpectedEof);
        self.differs = is_short || (result.is_ok() && found != bytes);
        result?;
        if self.differs { Err(io::Error::other("it differs")) } else { Ok(length) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn only_the_same_bytes_to_the_end_are_the_same() {
        let text = "0123456789".repeat(CHUNK);
        for (written, is_same) in [
            (text.clone(), true),
            (text[1..].to_owned(), false),
            (text[..text.len() - 1].to_owned(), false),
            (text.clone() + "x", false),
            (text[..text.len() - 1].to_owned() + "x", false),
            (String::new(), false),
        ] {
            let write = |sink: &mut Comparison<_>| {
                written.as_bytes().chunks(7000).try_for_each(|part| sink.write_all(part))
            };
            assert_eq!(compare(text.as_bytes(), write).unwrap().is_some(), is_same);
        }
        assert_eq!(compare(io::empty(), |_| Ok(5)).unwrap(), Some(5));
    }

    #[test]
    fn a_source_that_cannot_be_read_is_an_error() {
        let folder = File::open("/").unwrap();
        assert!(compare(&folder, |sink| sink.write_all(b"x")).is_err());
        assert!(compare(&folder, |_| Ok(())).is_err());
    }
}
