//! The least that a disk can make durable: one block, overwritten in place and synced.

use crate::peer::Writer;
use crate::turns::Failure;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const LEN: usize = 4096;

pub struct Block(File);

impl Block {
    pub fn make(dir: &Path) -> Result<Self, Failure> {
        let file = File::create(dir.join("block"))?;
        file.write_all_at(&[0; LEN], 0)?;
        file.sync_all()?;
        Ok(Self(file))
    }
}

impl Writer for Block {
    fn name(&self) -> String {
        "4 KiB overwritten, and fdatasync".into()
    }

    fn write(&self, i: usize) -> Result<(), Failure> {
        self.0.write_all_at(&[i.to_le_bytes()[0]; LEN], 0)?;
        Ok(self.0.sync_data()?)
    }
}
