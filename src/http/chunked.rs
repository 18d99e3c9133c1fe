//! The chunked transfer coding, decoded as it arrives (RFC 9112 §7.1). No I/O.
//!
//! Strict like `head`: a size is up to eight hexadecimal digits and nothing else, every line ends in
//! CR LF. Chunk extensions and trailers are bounded and ignored.

use super::head::Refusal;

/// The most digits of a chunk's size. Eight are 4 GiB, which no limit allows.
const SIZE_DIGITS: usize = 8;
/// The most bytes of one chunk's extensions, and of all trailers together.
const IGNORED_BYTES: usize = 4 * 1024;

/// A decoder in the middle of its input.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The size of the current chunk, then what is left of it.
    size: u64,
    /// Digits of the size, or bytes of the extensions or trailers, seen so far.
    seen: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    /// After the size line's CR.
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the first byte of a trailer line, or of the empty line that ends everything.
    TrailerStart,
    Trailer,
    TrailerEnd,
    /// After the CR of the empty line.
    LastLf,
    Done,
}

impl Chunked {
    /// A decoder before the first chunk.
    pub(super) fn new() -> Chunked {
        Chunked {
            state: State::Size,
            size: 0,
            seen: 0,
        }
    }

    /// Whether the body has ended. What follows belongs to the next request.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends the data in `input` to `body` and says how many bytes were used: all, unless the body ended.
    ///
    /// A chunk that would take the body beyond `limit` bytes is refused (413) when its size has been read.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        limit: u64,
    ) -> Result<usize, Refusal> {
        let mut used = 0;
        while used < input.len() && !self.is_done() {
            if self.state == State::Data {
                let most = usize::try_from(self.size).unwrap_or(usize::MAX);
                let data = &input[used..used + most.min(input.len() - used)];
                body.extend_from_slice(data);
                used += data.len();
                self.size -= data.len() as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(input[used])?;
                used += 1;
                if self.state == State::Data && self.size > limit.saturating_sub(body.len() as u64)
                {
                    return Err(Refusal::new(
                        413,
                        format!("the body has more than the {limit} bytes accepted here"),
                    ));
                }
            }
        }
        Ok(used)
    }

    /// The state after one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        let next = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.seen < SIZE_DIGITS => {
                self.seen += 1;
                self.size =
                    self.size * 16 + u64::from((byte as char).to_digit(16).unwrap_or_default());
                State::Size
            }
            (State::Size, b';') if self.seen > 0 => {
                self.seen = 0;
                State::Extension
            }
            (State::Size, b'\r') if self.seen > 0 => State::SizeEnd,
            (State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, _) if self.ignores(byte) => State::Extension,
            (State::SizeEnd, b'\n') => {
                self.seen = 0;
                if self.size == 0 {
                    State::TrailerStart
                } else {
                    State::Data
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::TrailerStart | State::Trailer, _) if self.ignores(byte) => State::Trailer,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(Refusal::new(400, "the chunked body is malformed")),
        };
        Ok(next)
    }

    /// Counts a byte of an extension or trailer. False for control characters and when there are too many.
    fn ignores(&mut self, byte: u8) -> bool {
        self.seen += 1;
        self.seen <= IGNORED_BYTES && (byte == b'\t' || !byte.is_ascii_control())
    }
}

#[cfg(test)]
mod tests {
    use super::Chunked;

    /// Decodes in steps of `step` bytes: the body and what was left over, or the status of the refusal.
    fn decode(input: &[u8], step: usize) -> Result<(String, String, bool), u16> {
        let (mut decoder, mut body, mut used) = (Chunked::new(), Vec::new(), 0);
        for piece in input.chunks(step) {
            used += decoder
                .decode(piece, &mut body, 20)
                .map_err(|refusal| refusal.status)?;
            if decoder.is_done() {
                break;
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&body), text(&input[used..]), decoder.is_done()))
    }

    #[test]
    fn bodies_are_put_together_however_the_bytes_arrive() {
        for (input, body, rest) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            (
                "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /",
                "hello world",
                "GET /",
            ),
            ("0\r\n\r\n", "", ""),
            ("00000005\r\nhello\r\n000\r\n\r\n", "hello", ""),
            (
                "A\r\n0123456789\r\na;x=\"y\"\r\n0123456789\r\n0;z\r\n\r\n",
                "01234567890123456789",
                "",
            ),
            (
                "2\r\n\r\n\r\n0\r\nExpires: never\r\nX: y\r\n\r\n!",
                "\r\n",
                "!",
            ),
        ] {
            for step in 1..=input.len() {
                let (decoded, left, done) = decode(input.as_bytes(), step).expect("accepted");
                assert_eq!(
                    (decoded.as_str(), left.as_str(), done),
                    (body, rest, true),
                    "{input:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in [
            "\r\n",
            ";x\r\n",
            "g\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\nhello\n0\n\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\rx",
            "5;a\nb\r\nhello\r\n",
            "5;a\0\r\nhello\r\n",
            "000000005\r\nhello\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\n\rx",
        ] {
            for step in [1, input.len()] {
                assert_eq!(
                    decode(input.as_bytes(), step),
                    Err(400),
                    "{input:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_has_arrived() {
        assert_eq!(decode(b"15\r\n", 1), Err(413));
        assert_eq!(decode(b"ffffffff\r\n", 1), Err(413));
        assert_eq!(decode(b"a\r\n0123456789\r\nb\r\n", 1), Err(413));
        assert_eq!(
            decode(format!("1;{}", "x".repeat(5000)).as_bytes(), 1),
            Err(400)
        );
        assert_eq!(
            decode(format!("0\r\n{}", "X: y\r\n".repeat(1100)).as_bytes(), 1),
            Err(400)
        );
    }

    #[test]
    fn an_incomplete_body_is_not_done() {
        let input = "5\r\nhello\r\n0\r\nX: y\r\n\r\n";
        for end in 0..input.len() {
            assert!(
                !decode(&input.as_bytes()[..end], 3).expect("accepted").2,
                "{end} bytes"
            );
        }
    }
}
