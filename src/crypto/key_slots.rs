//! The keys of tokens in use, in fixed places that are read without a lock.
//!
//! A key costs a record opened and four compressions to make, so that those in use are kept: as
//! many as there are slots, in locked memory, where the one that was not read for longest makes way
//! for the next. Whoever reads copies a key out, and learns afterwards whether it was whole:
//!
//! ```text
//! slot    turn, odd while it is written | words
//! place   turn × slots + slot, as of when the token's key was put there; 0 nowhere; MAX never again
//! read    turn is the place's ── copy ── turn is still the place's: the copy is the token's key
//! write   (one at a time) turn + 1 ── words ── turn + 2: no place that was given before fits
//! ```
//!
//! Readers write nothing that another reads often, so that they do not slow each other down.
//! `tests/interleavings` runs this very file under a model of memory.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, fence};
use std::array;
use std::sync::PoisonError;

/// The place of a key whose token has ended.
const NEVER_AGAIN: u64 = u64::MAX;

/// A key as words, in a fixed order.
pub(crate) trait Words<const WORDS: usize> {
    /// The key, word by word.
    fn words(&self) -> impl Iterator<Item = u32>;

    /// Fills the key in place.
    fn set(&mut self, words: impl Iterator<Item = u32>);
}

/// Slots for keys of so many words each.
pub(crate) struct KeySlots<const WORDS: usize, const SLOTS: usize> {
    slots: [Slot<WORDS>; SLOTS],
    /// One writer at a time; readers do not ask.
    writer: Mutex<Writer>,
}

struct Slot<const WORDS: usize> {
    turn: AtomicU64,
    /// Whether it was read since the writer last came by.
    is_used: AtomicBool,
    words: [AtomicU32; WORDS],
}

struct Writer {
    next: usize,
    is_shut: bool,
}

/// Where the key of one token is, if it is anywhere.
pub(crate) struct KeyPlace(AtomicU64);

impl KeyPlace {
    /// The place of a key that is not kept yet.
    pub(crate) fn nowhere() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl<const WORDS: usize, const SLOTS: usize> KeySlots<WORDS, SLOTS> {
    pub(crate) fn new() -> Self {
        Self {
            slots: array::from_fn(|_| Slot {
                turn: AtomicU64::new(0),
                is_used: AtomicBool::new(false),
                words: array::from_fn(|_| AtomicU32::new(0)),
            }),
            writer: Mutex::new(Writer { next: 0, is_shut: false }),
        }
    }

    /// Fills `key` with the one that is kept at `place`. Where it answers `false`, there is none, and
    /// `key` may hold anything.
    pub(crate) fn read(&self, place: &KeyPlace, key: &mut impl Words<WORDS>) -> bool {
        let Some((slot, turn)) = self.at(place) else { return false };
        if slot.turn.load(Ordering::Acquire) != turn {
            return false;
        }
        key.set(slot.words.iter().map(|word| word.load(Ordering::Relaxed)));
        // What was written over the words since shows in the turn as well.
        fence(Ordering::Acquire);
        if slot.turn.load(Ordering::Relaxed) != turn {
            return false;
        }
        // A store each time would take the slot's line from the other readers.
        if !slot.is_used.load(Ordering::Relaxed) {
            slot.is_used.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Keeps the key of the token that `place` belongs to, unless that has ended, or somebody else
    /// is about to write: the next one to need it will do it then.
    pub(crate) fn keep(&self, place: &KeyPlace, key: &impl Words<WORDS>) {
        let Ok(mut writer) = self.writer.try_lock() else { return };
        let is_over = place.0.load(Ordering::Relaxed) == NEVER_AGAIN;
        if writer.is_shut || is_over || self.holds(place) {
            return;
        }
        let Some((index, slot)) = self.least_used(&mut writer) else { return };
        let turn = slot.write(key.words());
        let slots = SLOTS as u64;
        place.0.store(turn * slots + index as u64, Ordering::Relaxed);
    }

    /// Wipes the key of a token that has ended. From here on none is kept for it.
    pub(crate) fn end(&self, place: &KeyPlace) {
        let _one_at_a_time = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((slot, turn)) = self.at(place)
            && slot.turn.load(Ordering::Relaxed) == turn
        {
            slot.wipe();
        }
        place.0.store(NEVER_AGAIN, Ordering::Relaxed);
    }

    /// Keeps keys again after [`KeySlots::shut`].
    pub(crate) fn reopen(&self) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).is_shut = false;
    }

    /// Wipes all keys. Until they are reopened the slots keep none.
    pub(crate) fn shut(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.is_shut = true;
        self.slots.iter().for_each(Slot::wipe);
    }

    /// The slot that a place means, and the turn in which it was its.
    fn at(&self, place: &KeyPlace) -> Option<(&Slot<WORDS>, u64)> {
        let (place, slots) = (place.0.load(Ordering::Relaxed), SLOTS as u64);
        let turn = place.checked_div(slots).filter(|turn| *turn > 0)?;
        let index = usize::try_from(place % slots).ok()?;
        // No slot has come to the last turn of all, so that an ended place fits none.
        self.slots.get(index).map(|slot| (slot, turn))
    }

    fn holds(&self, place: &KeyPlace) -> bool {
        self.at(place).is_some_and(|(slot, turn)| slot.turn.load(Ordering::Relaxed) == turn)
    }

    /// The next slot that was not read since this last came by; after one round, the next.
    fn least_used(&self, writer: &mut Writer) -> Option<(usize, &Slot<WORDS>)> {
        let from = writer.next;
        let round = (0..=SLOTS).map(|step| (from + step) % SLOTS.max(1));
        let mut slots = round.filter_map(|index| Some((index, self.slots.get(index)?)));
        let found = slots.find(|(_, slot)| !slot.is_used.swap(false, Ordering::Relaxed))?;
        writer.next = found.0 + 1;
        Some(found)
    }
}

impl<const WORDS: usize> Slot<WORDS> {
    /// Writes a key, and answers in which turn it is to be read.
    fn write(&self, words: impl Iterator<Item = u32>) -> u64 {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
        // Whoever sees one of the words below sees that turn too.
        fence(Ordering::Release);
        self.words.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        self.turn.store(turn + 2, Ordering::Release);
        turn + 2
    }

    fn wipe(&self) {
        self.write([0; WORDS].into_iter());
        self.is_used.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const SLOTS: usize = 3;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Pair([u32; 2]);

    impl Words<2> for Pair {
        fn words(&self) -> impl Iterator<Item = u32> {
            self.0.into_iter()
        }

        fn set(&mut self, words: impl Iterator<Item = u32>) {
            self.0.iter_mut().zip(words).for_each(|(place, word)| *place = word);
        }
    }

    fn pair(i: usize) -> Pair {
        let i = u32::try_from(i).expect("few are used here");
        Pair([7 + i, 70 + i])
    }

    fn read(slots: &KeySlots<2, SLOTS>, place: &KeyPlace) -> Option<Pair> {
        let mut pair = Pair::default();
        slots.read(place, &mut pair).then_some(pair)
    }

    fn in_memory(slots: &KeySlots<2, SLOTS>) -> Vec<u32> {
        let words = slots.slots.iter().flat_map(|slot| &slot.words);
        words.map(|word| word.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn what_is_read_stays_and_what_is_not_makes_way() {
        let slots = KeySlots::new();
        let places: [_; SLOTS + 1] = array::from_fn(|_| KeyPlace::nowhere());
        for (i, place) in places.iter().enumerate().take(SLOTS) {
            slots.keep(place, &pair(i));
        }
        assert_eq!([0, 2].map(|i| read(&slots, &places[i])), [Some(pair(0)), Some(pair(2))]);
        slots.keep(&places[SLOTS], &pair(SLOTS));
        let kept: Vec<_> = places.iter().map(|place| read(&slots, place)).collect();
        assert_eq!(kept, [Some(pair(0)), None, Some(pair(2)), Some(pair(3))]);
    }

    #[test]
    fn a_key_that_ended_is_wiped_and_never_kept_again() {
        let (slots, place) = (KeySlots::new(), KeyPlace::nowhere());
        slots.keep(&place, &Pair([1, 2]));
        assert!(in_memory(&slots).contains(&1));
        slots.end(&place);
        slots.keep(&place, &Pair([1, 2]));
        assert_eq!((read(&slots, &place), in_memory(&slots)), (None, vec![0; 2 * SLOTS]));
    }

    #[test]
    fn shut_slots_hold_nothing_and_take_nothing_until_they_are_reopened() {
        let (slots, places) = (KeySlots::new(), [KeyPlace::nowhere(), KeyPlace::nowhere()]);
        slots.keep(&places[0], &Pair([1, 2]));
        slots.shut();
        slots.keep(&places[1], &Pair([3, 4]));
        assert_eq!(places.each_ref().map(|place| read(&slots, place)), [None, None]);
        assert_eq!(in_memory(&slots), [0; 2 * SLOTS]);
        slots.reopen();
        places.iter().for_each(|place| slots.keep(place, &pair(1)));
        assert_eq!(places.each_ref().map(|place| read(&slots, place)), [Some(pair(1)); 2]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Keep(usize),
        Read(usize),
        End(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let token = 0..8_usize;
        prop::collection::vec(
            prop_oneof![
                4 => token.clone().prop_map(Step::Keep),
                4 => token.clone().prop_map(Step::Read),
                1 => token.prop_map(Step::End),
            ],
            0..200,
        )
    }

    proptest! {
        /// Against a plain model: a token is answered its own key or none, none once it has ended, and
        /// one that was just kept.
        #[test]
        fn nobody_reads_the_key_of_another(steps in steps()) {
            let slots = KeySlots::new();
            let places: [_; 8] = array::from_fn(|_| KeyPlace::nowhere());
            let mut ended = HashSet::new();
            for step in steps {
                match step {
                    Step::Keep(i) => {
                        slots.keep(&places[i], &pair(i));
                        let expect = (!ended.contains(&i)).then(|| pair(i));
                        prop_assert_eq!(read(&slots, &places[i]), expect);
                    }
                    Step::Read(i) => {
                        let found = read(&slots, &places[i]);
                        let fits = found.is_none_or(|found| found == pair(i));
                        prop_assert!(fits && !(ended.contains(&i) && found.is_some()));
                    }
                    Step::End(i) => {
                        slots.end(&places[i]);
                        ended.insert(i);
                        prop_assert!(!in_memory(&slots).contains(&pair(i).0[0]));
                    }
                }
            }
        }
    }
}
