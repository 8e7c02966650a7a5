//! Memory for keys: never swapped, kept out of core dumps, gone in forked children, wiped on release.
//!
//! ```text
//! | guard page | value … (whole pages) | guard page |
//! ```
//!
//! On Linux the pages come from `memfd_secret`, which even the kernel cannot read; where that is
//! refused they are ordinary pages under `mlock`, and where that too is refused they are still
//! wiped. [`LockLevel`] says what was reached. This is the one module with `unsafe`.
#![allow(unsafe_code)]

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use zeroize::Zeroize;

/// How well the keys in memory are kept from swap, dumps and other readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LockLevel {
    /// Wiped on release only; the system refused to lock the pages.
    Wiped,
    /// Locked in memory and kept out of core dumps.
    Locked,
    /// Removed from the kernel's own map (`memfd_secret`).
    Secret,
}

/// A value that lives in pages of its own.
///
/// # Security
/// What is moved in leaves a copy on the caller's stack: move in zeros, then fill in place.
pub(crate) struct Locked<T> {
    pages: Pages,
    value: NonNull<T>,
}

// SAFETY: `Locked` owns its value exclusively, as `Box` does; sharing and sending it
// is as sound as sharing and sending the value.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: as above; `Deref` hands out shared references only.
unsafe impl<T: Sync> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// Moves `value` into locked pages.
    ///
    /// # Errors
    /// The system's error where it gives no memory at all.
    pub(crate) fn new(value: T) -> std::io::Result<Self> {
        // No page is smaller than 4 KiB, so a page is aligned for any such value.
        const { assert!(align_of::<T>() <= 4096) };
        let pages = Pages::map(size_of::<T>())?;
        let place = pages.data().cast::<T>();
        // SAFETY: `place` is page-aligned, writable, unshared, and holds at least `size_of::<T>()` bytes.
        unsafe { place.write(value) };
        Ok(Self { pages, value: place })
    }

    /// How well the value is kept.
    pub(crate) fn level(&self) -> LockLevel {
        self.pages.level
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value was written in `new`, is never moved, and lives as long as `self`.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes it the only reference.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        if self.pages.are_foreign() {
            return;
        }
        // SAFETY: the value was written in `new` and is dropped here once; the pages are
        // then plain writable bytes that nothing refers to.
        unsafe {
            ptr::drop_in_place(self.value.as_ptr());
            let bytes = self.value.as_ptr().cast::<u8>();
            std::slice::from_raw_parts_mut(bytes, self.pages.data_len).zeroize();
        }
    }
}

/// How often this process has become another by `fork` since this was first asked. Who keeps what
/// parent and child must not both have looks here. `None` where the system cannot tell.
pub(crate) fn forks() -> Option<u32> {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static IS_TOLD: OnceLock<bool> = OnceLock::new();
    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: what is registered lives as long as the program and does nothing but add to an
    // atomic, which a child may do right after the fork.
    let register = || unsafe { libc::pthread_atfork(None, None, Some(count)) == 0 };
    IS_TOLD.get_or_init(register).then(|| FORKS.load(Ordering::Relaxed))
}

/// A mapping with a guard page on either side.
struct Pages {
    start: NonNull<c_void>,
    page: usize,
    data_len: usize,
    level: LockLevel,
    owner: u32,
}

impl Pages {
    fn map(len: usize) -> std::io::Result<Self> {
        let page = rustix::param::page_size();
        let data_len = len.max(1).next_multiple_of(page);
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing of ours.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                data_len + 2 * page,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )?
        };
        let start = NonNull::new(start).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let owner = std::process::id();
        let mut pages = Self { start, page, data_len, level: LockLevel::Wiped, owner };
        pages.level = match pages.back_with_secret_memory() {
            Ok(()) => LockLevel::Secret,
            Err(_) => pages.back_with_locked_memory()?,
        };
        Ok(pages)
    }

    /// Whether this is a forked child. Its part of the mapping is a hole, which by now may hold
    /// anything: nothing there may be dropped, wiped or unmapped.
    fn are_foreign(&self) -> bool {
        self.owner != std::process::id()
    }

    /// The first byte between the guards.
    fn data(&self) -> NonNull<c_void> {
        // SAFETY: the mapping is `data_len + 2 * page` long, so one page in is inside it.
        unsafe { self.start.byte_add(self.page) }
    }

    #[cfg(target_os = "linux")]
    fn back_with_secret_memory(&self) -> std::io::Result<()> {
        use std::os::fd::{FromRawFd, OwnedFd, RawFd};
        // SAFETY: the call takes one flag word and returns a new descriptor or -1.
        let raw = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let raw = RawFd::try_from(raw).ok().filter(|fd| *fd >= 0);
        let raw = raw.ok_or_else(std::io::Error::last_os_error)?;
        // SAFETY: the descriptor is new and nobody else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(raw) };
        rustix::fs::ftruncate(&file, self.data_len as u64)?;
        // SAFETY: MAP_FIXED replaces pages of our own reservation only.
        unsafe {
            rustix::mm::mmap(
                self.data().as_ptr(),
                self.data_len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED,
                &file,
                0,
            )?;
            rustix::mm::madvise(self.data().as_ptr(), self.data_len, Advice::LinuxDontFork)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn back_with_secret_memory(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn back_with_locked_memory(&self) -> std::io::Result<LockLevel> {
        let (data, len) = (self.data().as_ptr(), self.data_len);
        // SAFETY: all three act on pages of our own mapping and change neither address nor length.
        // The first undoes a half-made secret mapping, should there be one.
        unsafe {
            rustix::mm::mmap_anonymous(
                data,
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::FIXED,
            )?;
            rustix::mm::mprotect(data, len, MprotectFlags::READ | MprotectFlags::WRITE)?;
            let locked = rustix::mm::mlock(data, len).is_ok();
            #[cfg(target_os = "linux")]
            let locked = locked
                & rustix::mm::madvise(data, len, Advice::LinuxDontDump).is_ok()
                & rustix::mm::madvise(data, len, Advice::LinuxDontFork).is_ok();
            Ok(if locked { LockLevel::Locked } else { LockLevel::Wiped })
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.are_foreign() {
            return;
        }
        // SAFETY: the mapping is ours, whole, and nothing refers into it any more.
        // Failure would mean it is gone already; there is nothing left to do about that.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.data_len + 2 * self.page) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_held_and_dropped_once() {
        let shared = std::sync::Arc::new(());
        let locked = Locked::new((std::sync::Arc::clone(&shared), [7u8; 5000])).unwrap();
        assert_eq!(locked.1[4999], 7);
        assert_eq!(std::sync::Arc::strong_count(&shared), 2);
        drop(locked);
        assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    }

    #[test]
    fn both_backings_hold_values() {
        let pages = Pages::map(64).unwrap();
        let level = pages.back_with_locked_memory().unwrap();
        // SAFETY: the data pages were just made writable.
        unsafe {
            pages.data().cast::<u8>().write(9);
            assert_eq!(pages.data().cast::<u8>().read(), 9);
        }
        assert!(level <= LockLevel::Locked);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn locked_pages_stay_out_of_dumps_and_children() {
        let locked = Locked::new([0x5au8; 32]).unwrap();
        assert!(locked.level() >= LockLevel::Locked, "reached {:?}", locked.level());
        let address = format!("{:x}-", locked.value.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mine = maps.split_once(&address).unwrap().1;
        let flags = mine.lines().find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        for flag in ["lo", "dd", "dc"] {
            assert!(flags.contains(flag), "{flag} is missing in {flags}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn secret_pages_cannot_be_read_through_proc() {
        use std::os::unix::fs::FileExt;
        let locked = Locked::new([0x5au8; 32]).unwrap();
        let control = Box::new([0xa5u8; 32]);
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut seen = [0; 32];
        memory.read_exact_at(&mut seen, control.as_ptr() as u64).unwrap();
        assert_eq!(seen, *control, "the control value is read");
        if locked.level() < LockLevel::Secret {
            eprintln!("SKIPPED: this kernel gives no secret memory");
        } else {
            assert!(memory.read_exact_at(&mut seen, locked.value.as_ptr() as u64).is_err());
        }
    }

    /// Refuses system calls to this thread and to those that it starts, as a container's filter does.
    #[cfg(target_os = "linux")]
    fn refuse(calls: &[libc::c_long]) {
        let step = |code: u32, otherwise_skip, k| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt: 0,
            jf: otherwise_skip,
            k,
        };
        let answer = |answer| step(libc::BPF_RET | libc::BPF_K, 0, answer);
        // What is loaded first is the number of the call.
        let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
        for call in calls {
            let call = u32::try_from(*call).unwrap();
            filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call));
            filter.push(answer(libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()));
        }
        filter.push(answer(libc::SECCOMP_RET_ALLOW));
        let len = u16::try_from(filter.len()).unwrap();
        let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
        let (filtering, program) = (libc::SECCOMP_MODE_FILTER, ptr::from_ref(&program));
        // SAFETY: the first call takes numbers; the second reads the program, which lives, and its
        // `len` steps, and keeps a copy.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, filtering, program)
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_vault_whose_filter_refuses_locked_memory_opens_and_says_so() {
        use crate::{Environment, FileSystem, Passphrase, Vault};
        let level = |refused: &'static [libc::c_long]| {
            let opened = std::thread::spawn(move || {
                refuse(refused);
                let held = Locked::new([7u8; 32]).unwrap();
                assert_eq!(*held, [7; 32]);
                let dir = tempfile::tempdir().unwrap();
                let vault = Vault::builder(dir.path().join("vault"), Environment::Test)
                    .dangerous_allow_file_system(FileSystem::Overlayfs)
                    .kdf(crate::crypto::KdfParams::new(8, 1, 1).unwrap())
                    .blocking()
                    .create(Passphrase::new("correct horse"))
                    .unwrap();
                assert_eq!(held.level(), vault.lock_level());
                vault.close().unwrap();
                held.level()
            });
            opened.join().unwrap()
        };
        assert_eq!(level(&[libc::SYS_memfd_secret]), LockLevel::Locked);
        assert_eq!(level(&[libc::SYS_memfd_secret, libc::SYS_mlock]), LockLevel::Wiped);
    }

    #[cfg(target_os = "linux")]
    fn exit_status(child: libc::pid_t) -> Option<i32> {
        let child = rustix::process::Pid::from_raw(child).expect("the fork was made");
        let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        let (_, status) = ended.unwrap().expect("it was waited for");
        status.exit_status()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_forked_child_knows_that_it_is_one() {
        let before = forks().unwrap();
        // SAFETY: the child reads two atomics and calls _exit, all safe after a fork from among
        // threads.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let knows = forks() == Some(before + 1);
            // SAFETY: it ends the child at once and runs no handler of the parent's.
            unsafe { libc::_exit(i32::from(!knows)) };
        }
        assert_eq!((exit_status(child), forks()), (Some(0), Some(before)));
    }

    /// The child's part of the mapping is a hole, where by the time of the drop another page may be.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_forked_child_touches_no_page_that_took_the_hole() {
        let locked = Locked::new([0x5au8; 32]).unwrap();
        if locked.level() < LockLevel::Locked {
            return eprintln!("SKIPPED: without locked memory a child has no hole");
        }
        let (place, len) = (locked.value.as_ptr().cast::<c_void>(), locked.pages.data_len);
        // SAFETY: the child calls nothing but mmap, getpid, msync and _exit, all safe after a
        // fork from among threads.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
            // SAFETY: the kernel refuses where there is no hole, and what it maps is the child's.
            let code = unsafe {
                match rustix::mm::mmap_anonymous(
                    place,
                    len,
                    ProtFlags::READ | ProtFlags::WRITE,
                    flags,
                ) {
                    Ok(page) if page == place => {
                        page.cast::<u8>().write(7);
                        drop(locked);
                        // Asked of a page that is gone, the kernel says so.
                        match rustix::mm::msync(page, len, rustix::mm::MsyncFlags::ASYNC) {
                            Ok(()) if page.cast::<u8>().read() == 7 => 0,
                            Ok(()) => 3,
                            Err(_) => 2,
                        }
                    }
                    _ => 1,
                }
            };
            // SAFETY: it ends the child at once and runs no handler of the parent's.
            unsafe { libc::_exit(code) };
        }
        // 1: the hole was not free, 2: the page was unmapped, 3: it was wiped.
        assert_eq!(exit_status(child), Some(0));
        assert_eq!(*locked, [0x5a; 32], "and the parent's value stays");
    }
}
