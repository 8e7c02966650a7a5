//! Input read as instructions: a byte at a time, until there is none.

/// The bytes that are not read yet.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// All of the input.
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A number below `bound`, from two bytes.
    pub fn below(&mut self, bound: usize) -> Option<usize> {
        let wide = u16::from_be_bytes([self.byte()?, self.byte()?]);
        usize::from(wide).checked_rem(bound)
    }

    /// The next `len` bytes, or what there is of them.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
