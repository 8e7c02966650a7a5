//! Which tokens there are: removed ones stay away, and none is lost unsaid.

use super::super::damage;
use super::copies::repair;
use super::head::edit;
use super::*;
use crate::rotation::RotationState;
use crate::secret::{ClientSecret, RefreshToken};

/// Old records of removed tokens open until the next rekey. Which tokens there are, the index tells.
#[test]
fn old_records_bring_no_removed_token_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    add(&store, "kept");
    let removed = ["one", "two"].map(|label| add(&store, label));
    let epoch = store.disk.epoch();
    let values =
        removed.map(|lineage| epoch.get(Tree::Tokens, lineage.as_bytes()).unwrap().unwrap());
    drop(epoch);
    removed.iter().for_each(|lineage| store.remove_token(*lineage).unwrap());
    drop(store);
    edit(dir.path(), |db| {
        for (lineage, value) in removed.iter().zip(&values) {
            let key = [&[Tree::Tokens as u8], &lineage.as_bytes()[..]].concat();
            db.insert(key, value).unwrap();
        }
    });
    let (store, told) = repair(dir.path(), None).unwrap();
    assert_eq!(store.tokens().unwrap().len(), 1, "{told:?}");
    drop(store);
    drop(open(dir.path()).unwrap());
}

fn oauth(label: &str, refresh_token: &str) -> Grant {
    Grant {
        label: Label::new(label).unwrap(),
        client_id: "client".into(),
        client_secret: ClientSecret::new("secret"),
        refresh_token: RefreshToken::new(refresh_token),
        rotation: RotationState::Settled,
    }
}

/// A token whose grant came first is in the index as any other, and so is a grant alone: a repair
/// of anything else loses neither.
#[test]
fn a_repair_loses_no_token_of_oauths() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, backup) = (dir.path().join("vault"), dir.path().join("backup"));
    let store = create(&vault);
    let desk = add(&store, "desk");
    let (record, sealed) = store.tokens().unwrap().swap_remove(0);
    let secret = store.open_secret(desk, &sealed).unwrap();
    let sign_in = |label: &str| {
        let lineage = store.new_lineage().unwrap();
        store.keep_first_grant(lineage, &oauth(label, label)).unwrap();
        let label = Label::new(label).unwrap();
        let record = TokenRecord { lineage, label, ..record.clone() };
        store.add_token(&record, &secret, None).unwrap();
        lineage
    };
    let (kept, lost, removed) = (sign_in("kept"), sign_in("lost"), sign_in("removed"));
    let alone = store.new_lineage().unwrap();
    store.keep_first_grant(alone, &oauth("alone", "alone")).unwrap();
    store.back_up(&backup, NOW).unwrap();
    store.remove_token(removed).unwrap();
    drop(store);
    edit(&vault, |db| {
        let key = [&[Tree::Tokens as u8], &lost.as_bytes()[..]].concat();
        db.remove(key).unwrap().unwrap();
    });
    let (store, told) = repair(&vault, Some(&backup)).unwrap();
    let told = told.unwrap();
    assert!(told.lost.iter().map(Label::as_str).eq(["alone"]), "{told:?}");
    assert!(told.restored.iter().map(Label::as_str).eq(["lost"]), "{told:?}");
    assert_eq!(told.damage.tokens.len(), 1, "{told:?}");
    let refresh_token = |lineage| {
        let grant = store.grant(lineage).unwrap();
        grant.map(|grant| grant.refresh_token.expose().to_owned())
    };
    assert_eq!(refresh_token(kept).as_deref(), Some("kept"));
    assert_eq!(refresh_token(lost).as_deref(), Some("lost"));
    assert_eq!(refresh_token(alone).as_deref(), Some("alone"));
    assert_eq!(refresh_token(removed), None);
    assert_eq!(store.tokens().unwrap().len(), 3);
    let found = store.grant_without_token(&Label::new("alone").unwrap()).unwrap();
    assert_eq!(found.map(|(lineage, _)| lineage), Some(alone));
}

/// A removal and an arrival in one batch, the first since the opening.
#[test]
fn a_removal_and_an_arrival_in_one_batch_are_both_indexed() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let [gone, stays] = ["gone", "stays"].map(|label| add(&store, label));
    drop(store);
    let store = open(dir.path()).unwrap();
    let new = store.new_lineage().unwrap();
    let row = |lineage: LineageId, tree: Tree| {
        let sealed = Key::Id(*lineage.as_bytes());
        store.disk.epoch().row(tree, &sealed).unwrap()
    };
    let write = |lineage: LineageId, tree, row| {
        let key = Key::Id(*lineage.as_bytes());
        Write { tree, key, row }
    };
    let trees = [Tree::Tokens, Tree::Secrets, Tree::Ledger];
    let writes = trees.map(|tree| write(gone, tree, None)).into_iter();
    let writes = writes.chain(trees.map(|tree| write(new, tree, row(stays, tree))));
    store.commit(writes.collect()).unwrap();
    let known = store
        .committer
        .alone(|writer| Ok(damage::known(&writer.disk.epoch(), Some(&writer.head)).unwrap()));
    let mut there = [stays, new];
    there.sort();
    assert!(known.unwrap().into_keys().eq(there));
}
