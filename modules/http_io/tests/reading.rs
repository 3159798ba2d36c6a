//! Reading by http and https from servers that behave, and from those that do not.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use http_io::{HttpDriver, Limits, Roots};
use io_wrapper::{Flags, IoWrappers};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    response: Duration::from_secs(5),
    whole: Duration::from_secs(5),
    redirects: 3,
    body_bytes: 100,
};

fn wrappers(limits: Limits, roots: Roots) -> IoWrappers {
    let wrappers = IoWrappers::new();
    for driver in HttpDriver::both(limits, &roots) {
        wrappers.register(Arc::new(driver)).unwrap();
    }
    wrappers
}

/// A server that answers each request with what `answer` writes, given the request's target; its address.
fn server(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let head = head(&mut peer);
            answer(head.split(' ').nth(1).unwrap_or_default(), &mut peer);
        }
    });
    address
}

fn head(peer: &mut impl std::io::Read) -> String {
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && peer.read(&mut octet).is_ok_and(|read| read == 1) {
        head.push(octet[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that sends the same octets to everyone.
fn saying(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    server(move |_, peer| drop(peer.write_all(&answer)))
}

/// What the operator is told when the answer is this.
fn refused(answer: &str) -> String {
    let url = format!("http://{}/list", saying(answer));
    let told = wrappers(LIMITS, Roots::System).read_text(&url, 1000).unwrap_err().to_string();
    told.replace(&url, "URL")
}

#[test]
fn an_answer_is_read_whole_and_can_be_sought_and_asked_for_again() {
    let address = saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let mut stream = wrappers(LIMITS, Roots::System).open(&format!("http://{address}/a"), Flags::READ, 0).unwrap();
    assert_eq!(stream.size().unwrap(), 5);
    assert_eq!(stream.read_to_end(5).unwrap(), b"hello");
    stream.seek(io_wrapper::Seek::Start(3)).unwrap();
    assert_eq!(stream.read_to_end(5).unwrap(), b"lo");
    stream.reopen().unwrap();
    assert_eq!(stream.read_to_end(5).unwrap(), b"hello");
    assert_eq!(stream.write(b"x").unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    stream.close().unwrap();
}

#[test]
fn a_chunked_answer_is_put_together() {
    let address = saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    assert_eq!(wrappers(LIMITS, Roots::System).read_text(&format!("http://{address}"), 5).unwrap(), "hello");
}

#[test]
fn a_redirect_is_followed_and_a_circle_is_left() {
    let address = server(|target, peer| {
        let answer = match target {
            "/old" => "HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "/new" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            _ => "HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        };
        drop(peer.write_all(answer.as_bytes()));
    });
    let wrappers = wrappers(LIMITS, Roots::System);
    assert_eq!(wrappers.read_text(&format!("http://{address}/old"), 5).unwrap(), "ok");
    let told = wrappers.read_text(&format!("http://{address}/circle"), 5).unwrap_err().to_string();
    assert!(told.ends_with("more than 3 redirects; name the last address itself"), "{told}");
}

#[test]
fn a_status_other_than_200_is_told() {
    let told = refused("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope");
    assert_eq!(told, "opening URL: the server answered 404 Not Found, where 200 OK was hoped for");
}

#[test]
fn an_answer_that_is_too_long_is_refused_with_or_without_notice() {
    let long = "x".repeat(101);
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{long}");
    assert_eq!(refused(&announced), "opening URL: the answer is longer than 100 bytes");
    let unannounced = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{long}");
    assert_eq!(refused(&unannounced), "opening URL: the answer is longer than 100 bytes");
    let just_fits = saying(format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", &long[1..]));
    assert!(wrappers(LIMITS, Roots::System).read_text(&format!("http://{just_fits}/"), 1000).is_ok());
}

#[test]
fn an_answer_cut_short_is_refused() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let told = refused(cut);
        assert!(told.starts_with("opening URL: "), "{told}");
    }
}

#[test]
fn a_server_that_never_finishes_is_given_up() {
    let address = server(|target, peer| {
        if target == "/body" {
            let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
        }
        // Until the client has gone.
        let _ = peer.read(&mut [0]);
    });
    let limits = Limits { whole: Duration::from_millis(200), ..LIMITS };
    for target in ["head", "body"] {
        let told = wrappers(limits, Roots::System).read_text(&format!("http://{address}/{target}"), 9).unwrap_err();
        assert!(told.to_string().contains("not done in time"), "{told}");
    }
}

#[test]
fn nobody_there_and_writing_are_told() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wrappers = wrappers(LIMITS, Roots::System);
    let told = wrappers.read_text(&format!("http://{address}/"), 9).unwrap_err().to_string();
    assert!(told.contains("refused"), "{told}");
    let told = wrappers.open("http://127.0.0.1/", Flags::APPEND, 0).unwrap_err().to_string();
    assert!(told.ends_with("can only be read"), "{told}");
}

/// A server with a certificate of its own for `localhost`; its port, and the certificate.
fn tls_server(answer: &'static str) -> (u16, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().to_vec();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut peer);
            if !head(&mut stream).is_empty() {
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (port, certificate)
}

#[test]
fn https_is_read_from_a_server_somebody_vouches_for_and_from_no_other() {
    let (port, certificate) = tls_server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
    let url = format!("https://localhost:{port}/");
    assert_eq!(wrappers(LIMITS, Roots::These(vec![certificate])).read_text(&url, 9).unwrap(), "secret");
    let told = wrappers(LIMITS, Roots::System).read_text(&url, 9).unwrap_err().to_string();
    assert!(told.contains("certificate is not trusted"), "{told}");
}

#[test]
fn https_is_never_left_for_http() {
    let (port, certificate) =
        tls_server("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    let wrappers = wrappers(LIMITS, Roots::These(vec![certificate]));
    let told = wrappers.read_text(&format!("https://localhost:{port}/"), 9).unwrap_err().to_string();
    assert!(told.contains("not https"), "{told}");
}
