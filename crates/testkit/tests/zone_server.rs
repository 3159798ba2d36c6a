//! The zone server, asked with raw messages over both transports.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use testkit::ZoneServer;
use testkit::dns::Behaviour;

fn question(name: &str) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    message
}

fn ask(server: &ZoneServer, name: &str) -> (Message, Message) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let query = question(name);
    socket.send_to(&query.to_vec().unwrap(), server.addr()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    (query, Message::from_vec(&buffer[..length]).unwrap())
}

#[test]
fn it_answers_over_udp_and_tcp_and_logs_both() {
    let server = ZoneServer::start("host.test. 300 A 192.0.2.7");
    server.behave("host.test", Behaviour::Truncated);
    let (_, truncated) = ask(&server, "host.test.");
    assert!(truncated.metadata.truncation && truncated.answers.is_empty());

    let mut stream = TcpStream::connect(server.addr()).unwrap();
    let query = question("host.test.").to_vec().unwrap();
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().answers[0].data.to_string(), "192.0.2.7");
    assert_eq!(server.queries().iter().map(|query| query.tcp).collect::<Vec<_>>(), [false, true]);
    assert_eq!(server.count("HOST.test", "A"), 2);
}

#[test]
fn behaviours_change_while_it_runs() {
    let server = ZoneServer::start("host.test. 300 A 192.0.2.7");
    server.behave_times("host.test", Behaviour::ServFail, 1);
    assert_eq!(ask(&server, "host.test.").1.metadata.response_code, ResponseCode::ServFail);
    server.behave("*", Behaviour::WrongId);
    let (query, lie) = ask(&server, "host.test.");
    assert_ne!(query.metadata.id, lie.metadata.id);
    server.behave("host.test", Behaviour::Answer);
    server.remove("host.test");
    assert_eq!(ask(&server, "host.test.").1.metadata.response_code, ResponseCode::NXDomain);
}
