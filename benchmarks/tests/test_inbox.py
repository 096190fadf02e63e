"""The storm's mail server reads which alerts a message is about, whether it is about one or of thousands."""

from django.core.mail import EmailMessage

from benchmarks.inbox import Mail, alerts_named, compare

ALERT_OF = {7: 107, 8: 108, 9: 109}


def mail(text: str, *, subject: str = "silent", to: str = "ana@example.com", at: float = 1.0, **headers: str) -> Mail:
    message = EmailMessage(subject, text, "heartbeat@example.com", [to], headers=headers)
    return Mail(at, to, message.message().as_bytes())


def test_an_alert_is_named_by_its_link_its_header_or_its_heartbeat():
    assert alerts_named(mail("See http://localhost:8000/alerts/107/ now"), alert_of=ALERT_OF) == {107}
    assert alerts_named(mail("Look.", **{"X-Heartbeat-Alert": "108"}), alert_of=ALERT_OF) == {108}
    assert alerts_named(mail("job 9 has been silent"), alert_of=ALERT_OF) == {109}


def test_a_bundle_names_all_that_it_lists_once_each():
    bundle = mail("job 7 http://x/alerts/107/\njob 8 http://x/alerts/108/\njob 9\n", subject="[Open] 3 silent: job 7")

    assert alerts_named(bundle, alert_of=ALERT_OF) == {107, 108, 109}


def test_what_was_notified_is_compared_with_who_was_to_be_notified_of_what():
    expected = {("ana@example.com", 107), ("ben@example.com", 107), ("ana@example.com", 108)}
    mails = [
        mail("job 7", at=1.0),
        mail("job 7 and job 8", at=3.0),
        mail("job 9", at=4.0),
        mail("something else", at=5.0),
    ]

    found = compare(mails, expected=expected, alert_of=ALERT_OF)

    assert (found.lost, found.doubled, found.strange) == (1, 1, 2)
    assert found.last_at == 4.0
