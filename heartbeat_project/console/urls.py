"""Where the console answers."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from heartbeat_project.console.views import (
    actions,
    alerts,
    bundles,
    contact_methods,
    duty,
    groups,
    profile,
    respond,
    sending,
    sign_in,
)

app_name = "console"
urlpatterns = [
    path("", alerts.alerts, name="alerts"),
    path("alerts/list/", alerts.alert_list, name="alert_list"),
    path("alerts/new/", sending.new_alert, name="new_alert"),
    path("alerts/<int:alert_id>/", alerts.alert, name="alert"),
    path("alerts/<int:alert_id>/progress/", alerts.progress, name="progress"),
    path("alerts/<int:alert_id>/<slug:action>/", actions.act, name="act"),
    path("bundles/<uuid:envelope>/", bundles.bundle, name="bundle"),
    path("bundles/<uuid:envelope>/assign/", bundles.assign_bundle, name="assign_bundle"),
    path("r/<str:token>", respond.message, name="respond"),
    path("r/<str:token>/<int:alert_id>", respond.message, name="respond_one"),
    path("heartbeats/panel/", alerts.panel, name="panel"),
    path("on-call/", duty.duty, name="duty"),
    path("on-call/out-of-office/add/", duty.add_absence, name="add_absence"),
    path("on-call/out-of-office/<int:entry_id>/delete/", duty.delete_own_absence, name="delete_absence"),
    path("on-call/reminder/", duty.save_reminder, name="reminder"),
    path("on-call/calendar/replace/", duty.replace_feed, name="replace_feed"),
    path("groups/<int:group_id>/", groups.group, name="group"),
    path("groups/<int:group_id>/members/add/", groups.add_member, name="add_member"),
    path("groups/<int:group_id>/members/<slug:action>/", groups.change_member, name="member"),
    path("groups/<int:group_id>/contacts/add/", groups.add_contact, name="add_contact"),
    path("groups/<int:group_id>/contacts/<int:method_id>/<slug:action>/", groups.change_contact, name="contact"),
    path("heartbeats/readiness/", sending.readiness, name="readiness"),
    path("heartbeats/<int:integration_id>/who-would-be-told/", sending.forecast, name="who_would_be_told"),
    path("profile/", profile.profile, name="profile"),
    path("profile/password/", profile.password, name="password"),
    path("profile/contact-methods/", contact_methods.contact_methods, name="contact_methods"),
    path("profile/contact-methods/add/", contact_methods.add, name="add_contact_method"),
    path("profile/contact-methods/<int:method_id>/", contact_methods.edit, name="edit_contact_method"),
    path("profile/contact-methods/<int:method_id>/<slug:action>/", contact_methods.change, name="contact_method"),
    path("service-worker.js", contact_methods.service_worker, name="service_worker"),
    path("profile/api-keys/add/", profile.add_api_key, name="add_api_key"),
    path("profile/api-keys/<int:key_id>/revoke/", profile.revoke_api_key, name="revoke_api_key"),
    path("login/", sign_in.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
