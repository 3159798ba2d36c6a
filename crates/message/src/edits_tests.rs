use super::*;
use proptest::prelude::*;

/// What is done to a header section.
#[derive(Clone, Debug)]
enum Step {
    Set(&'static str, String),
    Append(&'static str, String),
    Prepend(&'static str, String),
    Remove(&'static str),
}

const NAMES: [&str; 4] = ["A", "b", ".c", "Return-Path"];

fn step() -> impl Strategy<Value = Step> {
    let (name, value) = (proptest::sample::select(&NAMES[..]), "[a-zé .]{0,90}");
    (0..4, name, value).prop_map(|(kind, name, value)| match kind {
        0 => Step::Set(name, value),
        1 => Step::Append(name, value),
        2 => Step::Prepend(name, value),
        _ => Step::Remove(name),
    })
}

fn body() -> impl Strategy<Value = Body> {
    let field =
        (proptest::sample::select(&["A", "B", "..c", "Return-Path", "d "][..]), "[a-z.]{0,9}(\r\n\t[a-z]{1,5}){0,2}");
    let fields = proptest::collection::vec(field.prop_map(|(name, value)| format!("{name}: {value}\r\n")), 0..8);
    let content = prop_oneof![Just("\r\n..hello\r\nA: no field\r\n.\r\n"), Just(".\r\n"), Just("no field\r\n.\r\n")];
    (fields, content).prop_map(|(fields, content)| Body::from(fields.concat() + content))
}

fn apply(section: &mut HeaderSection<'_>, step: &Step) {
    let field = |name: &str, value: &str| crate::field::encode(name, value).expect("a field");
    match step {
        Step::Set(name, value) => section.set(field(name, value)),
        Step::Append(name, value) => section.append(field(name, value)),
        Step::Prepend(name, value) => section.prepend(field(name, value)),
        Step::Remove(name) => drop(section.remove(name)),
    }
}

fn edited(stored: &Body, edits: Option<&Edits>, steps: &[Step]) -> (Option<Edits>, Body) {
    let mut section = HeaderSection::of(stored, edits);
    steps.iter().for_each(|step| apply(&mut section, step));
    let whole = section.clone().into_body();
    (section.into_edits().expect("they are few"), whole.into())
}

proptest! {
    #[test]
    fn rendering_edits_gives_what_was_made_of_the_section(stored in body(), steps in proptest::collection::vec(step(), 0..8)) {
        let (edits, whole) = edited(&stored, None, &steps);
        let pieces = rendered(&stored, edits.as_ref());
        prop_assert_eq!(pieces.content_octets(), smtp::client::content_octets(&whole));
        prop_assert_eq!(pieces.into_bytes(), whole.clone());
        if let Some(edits) = edits {
            prop_assert!(edits.fit(&stored));
            prop_assert_eq!(edits.rendered_octets(stored.len() as u64), whole.len() as u64);
            let section = HeaderSection::of(&stored, Some(&edits));
            prop_assert_eq!(section.into_edits(), Ok(Some(edits)));
        }
    }

    #[test]
    fn edits_of_edits_are_edits_of_what_they_render(stored in body(), first in proptest::collection::vec(step(), 0..6), then in proptest::collection::vec(step(), 0..6)) {
        let (edits, whole) = edited(&stored, None, &first);
        let (both, composed) = edited(&stored, edits.as_ref(), &then);
        let (_, afresh) = edited(&whole, None, &then);
        prop_assert_eq!(&composed, &afresh);
        prop_assert_eq!(rendered(&stored, both.as_ref()).into_bytes(), afresh);
    }

    #[test]
    fn the_content_stays_where_it_is(stored in body(), steps in proptest::collection::vec(step(), 0..8)) {
        let (_, whole) = edited(&stored, None, &steps);
        let content = |body: &Body| body.slice(header::section(body).len()..);
        prop_assert_eq!(content(&whole), content(&stored));
        prop_assert!(whole.ends_with(b".\r\n"));
    }

    #[test]
    fn edits_move_with_what_is_put_in_front(stored in body(), steps in proptest::collection::vec(step(), 1..6)) {
        let (Some(edits), whole) = edited(&stored, None, &steps) else { return Ok(()) };
        let front = Body::from_static(b"Received: by x\r\n");
        let (longer, moved) = (Body::from([&front[..], &stored].concat()), edits.behind(front.len()).unwrap());
        prop_assert!(moved.fit(&longer));
        prop_assert_eq!(moved.render(&longer).into_bytes(), [&front[..], &whole].concat());
    }

    #[test]
    fn no_parts_make_rendering_panic(
        parts in proptest::collection::vec((0..90u32, 0..40u32, 0..3usize), 0..6),
        stored in body(),
    ) {
        let (mut changes, mut text) = (Vec::new(), Vec::new());
        for (at, removed, lines) in parts {
            let inserted = b"X: y\r\n".repeat(lines);
            changes.push(Change { at, removed, inserted: inserted.len() as u32 });
            text.extend(inserted);
        }
        if let Ok(edits) = Edits::of_parts(changes, text) {
            let octets = edits.render(&stored).len() as u64;
            if edits.fit(&stored) {
                prop_assert_eq!(octets, edits.rendered_octets(stored.len() as u64));
            }
            let _ = HeaderSection::of(&stored, Some(&edits)).into_body();
        }
    }
}

#[test]
fn parts_that_are_no_edits_are_refused() {
    let change = |at, removed, inserted| Change { at, removed, inserted };
    let of = |changes: &[Change], text: &[u8]| Edits::of_parts(changes.to_vec(), text.to_vec()).map(drop);
    assert_eq!(of(&[], b""), Err(Misfit::Places));
    assert_eq!(of(&[change(0, 0, 0)], b""), Err(Misfit::Places));
    assert_eq!(of(&[change(5, 5, 0), change(9, 1, 0)], b""), Err(Misfit::Places), "they overlap");
    assert_eq!(of(&[change(u32::MAX, 1, 0)], b""), Err(Misfit::Places));
    assert_eq!(of(&[change(0, 0, 6)], b"A: b\r\nC: d\r\n"), Err(Misfit::Places), "text is left over");
    assert_eq!(of(&[change(0, 0, 7)], b"A: b\r\n"), Err(Misfit::Text));
    for text in [
        "A: b",
        "A: b\n",
        "A: b\r\n\r\n",
        "\r\n",
        "no field\r\n",
        " folded\r\n",
        "A: \u{e9}\r\n",
        "A: \0\r\n",
        "A: b\rc\r\n",
    ] {
        assert_eq!(of(&[change(0, 0, text.len() as u32)], text.as_bytes()), Err(Misfit::Text), "{text:?}");
    }
    let long = format!("A: {}\r\n", "x".repeat(996));
    assert_eq!(of(&[change(0, 0, long.len() as u32)], long.as_bytes()), Err(Misfit::Text));
    assert_eq!(of(&[change(0, 1, 6), change(1, 0, 6)], b"A: b\r\nC: d\r\n"), Ok(()));
    let much = b"A: b\r\n".repeat(INSERTED_OCTETS_MAX / 6 + 1);
    assert_eq!(of(&[change(0, 0, much.len() as u32)], &much), Err(Misfit::Size));
}

#[test]
fn edits_of_another_body_do_not_fit() {
    let stored = Body::from_static(b"A: 1\r\nB: 2\r\n\r\nx\r\n.\r\n");
    let (edits, _) = edited(&stored, None, &[Step::Remove("B")]);
    let edits = edits.unwrap();
    assert!(edits.fit(&stored));
    for other in [
        &b"A: 1\r\n\r\nx\r\n.\r\n"[..],
        b"A: 12\r\nB: 2\r\n\r\n.\r\n",
        b".\r\n",
        b"A: 1\r\nB: 2\r\n folded\r\n\r\n.\r\n",
    ] {
        assert!(!edits.fit(other), "{other:?}");
    }
}

#[test]
fn a_field_put_in_front_stands_below_the_return_path() {
    let stored = Body::from_static(b"Return-Path: <>\r\nA: 1\r\n\r\n.\r\n");
    let (_, whole) = edited(&stored, None, &[Step::Prepend("X", "1".into()), Step::Prepend("Y", "2".into())]);
    assert_eq!(whole, b"Return-Path: <>\r\nY: 2\r\nX: 1\r\nA: 1\r\n\r\n.\r\n"[..]);
}
