use super::*;

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'X'];
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn encoded(content: &str) -> Vec<u8> {
    [
        b"c_codecs\nencode\n".to_vec(),
        text(content),
        text("latin1"),
        b"\x86R".to_vec(),
    ]
    .concat()
}

/// A pickled array of one dimension as NumPy writes it.
fn array_of(kind: &str, order: &str, size: u8, content: &str) -> Vec<u8> {
    [
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85".to_vec(),
        encoded("b"),
        b"\x87R(K\x01K".to_vec(),
        vec![size, 0x85],
        b"cnumpy\ndtype\n".to_vec(),
        text(kind),
        b"\x89\x88\x87R(K\x03".to_vec(),
        text(order),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89".to_vec(),
        encoded(content),
        b"tb".to_vec(),
    ]
    .concat()
}

fn dictionary(key: &str, value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}q\x00(".to_vec(), text(key), value.to_vec(), b"u.".to_vec()].concat()
}

/// 1.0 and −2.0; `é` stands for a byte above 127.
const TWO_NUMBERS: &str = "\0\0\u{80}?\0\0\0\u{c0}";

#[test]
fn an_array_comes_out_as_it_went_in() {
    let entries = read_arrays(&dictionary("weight", &array_of("f4", "<", 2, TWO_NUMBERS))).unwrap();
    let [(name, array)] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert_eq!((name.as_str(), array.shape.as_slice()), ("weight", [2].as_slice()));
    let (words, _) = array.bytes.as_chunks::<4>();
    assert_eq!(
        words.iter().map(|word| f32::from_le_bytes(*word)).collect::<Vec<_>>(),
        [1.0, -2.0]
    );
}

#[test]
fn whatever_else_is_named() {
    let evil = [b"\x80\x02cos\nsystem\n".to_vec(), text("true"), b"\x85R.".to_vec()].concat();
    assert_eq!(read_arrays(&evil), Err(PickleError::Name("os.system".into())));
    // An object is built through its class (protocol 2's NEWOBJ), and protocol 4 frames its content: neither is known.
    assert_eq!(read_arrays(b"\x80\x02}\x81."), Err(PickleError::Instruction(0x81)));
    assert!(matches!(read_arrays(b"\x80\x04\x95."), Err(PickleError::Structure(_))));
}

#[test]
fn arrays_of_another_kind_are_refused() {
    for (kind, order, size) in [("f8", "<", 1), ("f4", ">", 2), ("f4", "<", 3), ("i4", "<", 2)] {
        let pickle = dictionary("weight", &array_of(kind, order, size, TWO_NUMBERS));
        assert!(
            matches!(read_arrays(&pickle), Err(PickleError::Structure(_))),
            "{kind} {order} {size}"
        );
    }
    let too_wide = dictionary("weight", &array_of("f4", "<", 1, "\0\0\0\u{100}"));
    assert!(matches!(read_arrays(&too_wide), Err(PickleError::Structure(_))));
}

#[test]
fn no_beginning_and_no_changed_byte_is_trusted() {
    let whole = dictionary("weight", &array_of("f4", "<", 2, TWO_NUMBERS));
    for length in 0..whole.len() {
        assert!(read_arrays(&whole[..length]).is_err(), "{length} bytes");
    }
    // Any change gives an error or a dictionary, never a panic.
    for place in 0..whole.len() {
        for value in 0..=255 {
            let mut changed = whole.clone();
            changed[place] = value;
            let _ = read_arrays(&changed);
        }
    }
}
