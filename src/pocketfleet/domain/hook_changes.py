"""What hooks and migrations in JavaScript must say otherwise from which release on: old words, and new ones.

Seen by listing what each release gives to its hooks (0.22.27, 0.23.12, 0.30.4, 0.36.9, 0.40.6) and read in PocketBase's
guide to 0.23: that release took much away, and none since has taken anything.
"""

from __future__ import annotations

from pocketfleet.domain.releases import Version

#: The release that everything below is about.
REWRITE = Version("0.23.0")


def crosses_rewrite(old: Version, new: Version) -> bool:
    """Whether hooks that fit `old` must be rewritten for `new`."""
    return old < REWRITE <= new


_BEFORE = "{new}((e) => {{ ...; e.next() }}{tag})"
_AFTER = "{new}((e) => {{ e.next(); ... }}{tag})"


def _event(new: str, form: str, tag: str = "") -> str:
    return form.format(new=new, tag=f', "{tag}"' if tag else "")


def _before_and_after(pairs: dict[str, tuple[str, str]]) -> dict[str, str]:
    """{pattern with BA for Before/After: (new name, tag)} as {old name: instead}."""
    events = {}
    for pattern, (new, tag) in pairs.items():
        events[pattern.replace("BA", "Before")] = _event(new, _BEFORE, tag)
        events[pattern.replace("BA", "After")] = _event(new, _AFTER, tag)
    return events


_WRITES = ("Create", "Update", "Delete")
_RECORD_REQUESTS = (
    "AuthRefresh",
    "AuthWithOAuth2",
    "AuthWithPassword",
    "ConfirmEmailChange",
    "ConfirmPasswordReset",
    "ConfirmVerification",
    "RequestEmailChange",
    "RequestPasswordReset",
    "RequestVerification",
)
_ADMIN_REQUESTS = ("AuthRefresh", "AuthWithPassword", "ConfirmPasswordReset", "RequestPasswordReset")

#: Events whose name is gone, with the handler that does the same now. Most were a pair around something; now one
#: handler stands around it, and `e.next()` is that something.
EVENTS: dict[str, str] = {
    **_before_and_after({f"onRecordBA{verb}Request": (f"onRecord{verb}Request", "") for verb in _WRITES}),
    **_before_and_after({f"onRecordBA{verb}Request": (f"onRecord{verb}Request", "") for verb in _RECORD_REQUESTS}),
    **_before_and_after({f"onCollectionBA{verb}Request": (f"onCollection{verb}Request", "") for verb in _WRITES}),
    **_before_and_after({f"onAdminBA{verb}Request": (f"onRecord{verb}Request", "_superusers") for verb in _WRITES}),
    **_before_and_after(
        {f"onAdminBA{verb}Request": (f"onRecord{verb}Request", "_superusers") for verb in _ADMIN_REQUESTS}
    ),
    **_before_and_after(
        {
            "onBABootstrap": ("onBootstrap", ""),
            "onCollectionsBAImportRequest": ("onCollectionsImportRequest", ""),
            "onFileBATokenRequest": ("onFileTokenRequest", ""),
            "onMailerBAAdminResetPasswordSend": ("onMailerRecordPasswordResetSend", "_superusers"),
            "onMailerBARecordChangeEmailSend": ("onMailerRecordEmailChangeSend", ""),
            "onMailerBARecordResetPasswordSend": ("onMailerRecordPasswordResetSend", ""),
            "onMailerBARecordVerificationSend": ("onMailerRecordVerificationSend", ""),
            "onRealtimeBAMessageSend": ("onRealtimeMessageSend", ""),
            "onRealtimeBASubscribeRequest": ("onRealtimeSubscribeRequest", ""),
            "onRecordBAUnlinkExternalAuthRequest": ("onRecordDeleteRequest", "_externalAuths"),
            "onSettingsBAUpdateRequest": ("onSettingsUpdateRequest", ""),
        }
    ),
    **{f"onModelBefore{verb}": _event(f"onRecord{verb}", _BEFORE) + " with e.record for e.model" for verb in _WRITES},
    **{
        f"onModelAfter{verb}": _event(f"onRecordAfter{verb}Success", _BEFORE) + " with e.record for e.model"
        for verb in _WRITES
    },
    "onAdminAuthRequest": _event("onRecordAuthRequest", _BEFORE, "_superusers"),
    "onAdminViewRequest": _event("onRecordViewRequest", _BEFORE, "_superusers"),
    "onAdminsListRequest": _event("onRecordsListRequest", _BEFORE, "_superusers"),
    "onRecordListExternalAuthsRequest": _event("onRecordsListRequest", _BEFORE, "_externalAuths"),
    "onRealtimeDisconnectRequest": _event("onRealtimeConnectRequest", _AFTER),
    "onBeforeApiError": "routerUse((e) => { try { return e.next() } catch (error) { ...; throw error } })",
    "onAfterApiError": "routerUse((e) => { try { return e.next() } catch (error) { ...; throw error } })",
}

#: Events that keep their name, but stop everything behind them unless the handler calls `e.next()`.
KEPT_EVENTS = frozenset(
    {
        "onCollectionViewRequest",
        "onCollectionsListRequest",
        "onFileDownloadRequest",
        "onRealtimeConnectRequest",
        "onRecordAuthRequest",
        "onRecordViewRequest",
        "onRecordsListRequest",
        "onSettingsListRequest",
        "onTerminate",
    }
)

#: Classes and functions that are gone.
GLOBALS: dict[str, str] = {
    "Admin": 'new Record($app.findCollectionByNameOrId("_superusers"))',
    "AdminLoginForm": '$app.findAuthRecordByEmail("_superusers", email) and record.validatePassword(password)',
    "AdminPasswordResetConfirmForm": "the record of _superusers: set its password and $app.save(record)",
    "AdminPasswordResetRequestForm": "$mails.sendRecordPasswordReset($app, record)",
    "AdminUpsertForm": "the record of _superusers: record.set(...) and $app.save(record)",
    "CollectionUpsertForm": "collection.name = ...; collection.fields.add(...); $app.save(collection)",
    "CollectionsImportForm": "$app.importCollections(list, deleteMissing)",
    "Dao": "$app, which has the methods of a dao itself",
    "RealtimeSubscribeForm": "client.subscribe(...) of $app.subscriptionsBroker()",
    "RecordEmailChangeConfirmForm": "record.setEmail(email) and $app.save(record)",
    "RecordEmailChangeRequestForm": "$mails.sendRecordChangeEmail($app, record, email)",
    "RecordOAuth2LoginForm": "POST /api/collections/{collection}/auth-with-oauth2",
    "RecordPasswordLoginForm": "$app.findAuthRecordByEmail(collection, email) and record.validatePassword(password)",
    "RecordPasswordResetConfirmForm": "record.setPassword(password) and $app.save(record)",
    "RecordPasswordResetRequestForm": "$mails.sendRecordPasswordReset($app, record)",
    "RecordVerificationConfirmForm": "record.setVerified(true) and $app.save(record)",
    "RecordVerificationRequestForm": "$mails.sendRecordVerification($app, record)",
    "Schema": "an array of fields",
    "SchemaField": 'new Field({type: "text", name: ..., max: ...}), options at the top level',
    "SettingsUpsertForm": "const settings = $app.settings(); ...; $app.save(settings)",
    "routerPre": "routerUse((e) => { ...; return e.next() })",
}

#: Methods that a dao had, and the same on `$app`; all others keep their name there.
DAO_METHODS: dict[str, str] = {
    "adminQuery": '$app.recordQuery("_superusers")',
    "createViewSchema": "$app.createViewFields(query)",
    "deleteAdmin": "$app.delete(record)",
    "deleteCollection": "$app.delete(collection)",
    "deleteExternalAuth": "$app.delete(externalAuth)",
    "deleteParam": "$app.delete(param)",
    "deleteRecord": "$app.delete(record)",
    "externalAuthQuery": '$app.recordQuery("_externalAuths")',
    "findAdminByEmail": '$app.findAuthRecordByEmail("_superusers", email)',
    "findAdminById": '$app.findRecordById("_superusers", id)',
    "findAdminByToken": '$app.findAuthRecordByToken(token, "auth")',
    "findAuthRecordByToken": '$app.findAuthRecordByToken(token, "auth")',
    "findAuthRecordByUsername": '$app.findFirstRecordByData(collection, "username", username)',
    "findById": "$app.findRecordById(collection, id)",
    "findCollectionsByType": '$app.findAllCollections("auth")',
    "findExternalAuthByRecordAndProvider": (
        "$app.findFirstExternalAuthByExpr($dbx.hashExp({collectionRef: ..., recordRef: ..., provider: ...}))"
    ),
    "findParamByKey": "a collection of your own for such values",
    "findRecordsByExpr": "$app.findAllRecords(collection, ...expressions)",
    "findSettings": "$app.settings()",
    "isAdminEmailUnique": '$app.findAuthRecordByEmail("_superusers", email)',
    "isRecordValueUnique": "a unique index, or $app.countRecords(collection, expression)",
    "runInTransaction": "$app.runInTransaction((txApp) => { ... })",
    "saveAdmin": "$app.save(record)",
    "saveCollection": "$app.save(collection)",
    "saveExternalAuth": "$app.save(externalAuth)",
    "saveLog": "$app.auxSave(log)",
    "saveParam": "a collection of your own for such values",
    "saveRecord": "$app.save(record)",
    "saveSettings": "$app.save(settings)",
    "suggestUniqueAuthRecordUsername": "a name with $security.randomString(...), tried with $app.countRecords(...)",
    "totalAdmins": '$app.countRecords("_superusers")',
    "withoutHooks": "$app.db() for a statement that fires no hooks",
}

#: Members of `$app` that are gone.
APP_MEMBERS: dict[str, str] = {
    "cache": "$app.store()",
    "dao": "$app",
    "logsDB": "$app.auxDB()",
    "logsDao": "$app, with $app.logQuery() and $app.auxSave(log)",
    "refreshSettings": "$app.reloadSettings()",
}

#: Members of the helpers whose name begins with `$`.
HELPER_MEMBERS: dict[tuple[str, str], str] = {
    ("$apis", "activityLogger"): "nothing: it is there for all routes; $apis.skipSuccessActivityLog() leaves it out",
    ("$apis", "requestInfo"): "e.requestInfo()",
    ("$apis", "requireAdminAuth"): "$apis.requireSuperuserAuth()",
    ("$apis", "requireAdminAuthOnlyIfAny"): "$apis.requireSuperuserAuth()",
    ("$apis", "requireAdminOrOwnerAuth"): '$apis.requireSuperuserOrOwnerAuth("id")',
    ("$apis", "requireAdminOrRecordAuth"): '$apis.requireAuth("_superusers", ...)',
    ("$apis", "requireRecordAuth"): "$apis.requireAuth(...)",
    ("$apis", "staticDirectoryHandler"): '$apis.static(path, indexFallback) on the route "/{path...}"',
    ("$filesystem", "fileFromUrl"): "$filesystem.fileFromURL(url)",
    ("$mails", "sendAdminPasswordReset"): "$mails.sendRecordPasswordReset($app, record)",
    ("$tokens", "adminAuthToken"): "record.newAuthToken()",
    ("$tokens", "adminFileToken"): "record.newFileToken()",
    ("$tokens", "adminResetPasswordToken"): "record.newPasswordResetToken()",
    ("$tokens", "recordAuthToken"): "record.newAuthToken()",
    ("$tokens", "recordChangeEmailToken"): "record.newEmailChangeToken(email)",
    ("$tokens", "recordFileToken"): "record.newFileToken()",
    ("$tokens", "recordResetPasswordToken"): "record.newPasswordResetToken()",
    ("$tokens", "recordVerifyToken"): "record.newVerificationToken()",
}

#: Calls of `$apis` that stay, with fewer arguments: how many they had.
SHORTER_CALLS: dict[tuple[str, str], str] = {
    ("$apis", "enrichRecord"): "$apis.enrichRecord(e, record, ...)",
    ("$apis", "enrichRecords"): "$apis.enrichRecords(e, records, ...)",
    ("$apis", "recordAuthResponse"): "$apis.recordAuthResponse(e, record, method)",
}

#: Methods of what a route's handler is given; `json`, `string`, `html`, `redirect`, `noContent` and `blob` stay.
CONTEXT_METHODS: dict[str, str] = {
    "attachment": "e.fileFS($os.dirFS(folder), name)",
    "bind": "e.bindBody(model)",
    "cookie": "e.request.cookie(name)",
    "cookies": "e.request.cookies()",
    "file": "e.fileFS($os.dirFS(folder), name)",
    "formFile": "e.findUploadedFiles(name)",
    "formValue": "e.request.formValue(name)",
    "formValues": "e.requestInfo().body",
    "inline": "e.fileFS($os.dirFS(folder), name)",
    "multipartForm": "e.findUploadedFiles(name)",
    "path": "e.request.pattern",
    "pathParam": "e.request.pathValue(name)",
    "pathParams": "e.request.pathValue(name)",
    "queryParam": "e.request.url.query().get(name)",
    "queryParams": "e.request.url.query()",
    "queryString": "e.request.url.rawQuery",
    "render": "e.html(status, html)",
    "request": "e.request, a field",
    "response": "e.response, a field",
    "scheme": "e.isTLS()",
    "validate": "a check of your own",
}
#: What `get` of a route's handler answered to, and no longer does.
CONTEXT_KEYS: dict[str, str] = {"admin": "e.auth and e.hasSuperuserAuth()", "authRecord": "e.auth"}

#: Members of an event, or of what `requestInfo` answers, that have another name.
EVENT_MEMBERS: dict[str, str] = {
    "admin": "e.record",
    "admins": "e.records",
    "httpContext": "e itself",
    "uploadedFiles": "the fields of e.record",
}
INFO_MEMBERS: dict[str, str] = {
    "admin": "info.auth and info.hasSuperuserAuth()",
    "authRecord": "info.auth",
    "data": "info.body",
}

#: Methods of records, with names that nothing else has.
RECORD_METHODS: dict[str, str] = {
    "cleanCopy": "record.fresh()",
    "columnValueMap": "record.fieldsData()",
    "originalCopy": "record.original()",
    "schemaData": "record.fieldsData()",
    "setLastResetSentAt": "nothing: the field is gone",
    "setLastVerificationSentAt": "nothing: the field is gone",
    "setUsername": 'record.set("username", name)',
    "unknownData": "record.customData()",
    "withUnknownData": "record.withCustomData(state)",
}
#: Methods of records and collections with common names: only where the receiver is called as one.
MODEL_METHODS: dict[str, str] = {
    "getCreated": 'record.getDateTime("created")',
    "getId": "record.id",
    "getTime": "record.getDateTime(field).time()",
    "getUpdated": 'record.getDateTime("updated")',
    "hasId": 'record.id != ""',
    "refreshId": "record.id = $security.randomString(15)",
    "setId": "record.id = id",
    "username": 'record.get("username")',
}
MODEL_NAMES = frozenset({"admin", "authRecord", "collection", "model", "record", "user"})

FORMS = frozenset({"CollectionUpsertForm", "RecordUpsertForm"})
#: Methods of the forms that stay, `RecordUpsertForm` above all.
FORM_METHODS: dict[str, str] = {
    "addFiles": "record.set(field, [$filesystem.fileFromPath(path)]) and $app.save(record)",
    "loadData": "form.load(data), or record.load(data) and $app.save(record)",
    "removeFiles": 'record.set("field-", name) and $app.save(record)',
}

#: Methods of a collection's `schema`.
SCHEMA_METHODS: dict[str, str] = {
    "addField": "collection.fields.add(new Field({...}))",
    "fields": "collection.fields",
    "getFieldById": "collection.fields.getById(id)",
    "getFieldByName": "collection.fields.getByName(name)",
    "removeField": "collection.fields.removeById(id)",
}

#: Methods that the argument of a migration had while it was a database; those an app has, too, are left out.
DATABASE_METHODS = frozenset(
    {
        "addColumn",
        "alterColumn",
        "createIndex",
        "createTable",
        "createUniqueIndex",
        "dropColumn",
        "dropIndex",
        "dropTable",
        "insert",
        "newQuery",
        "renameColumn",
        "renameTable",
        "select",
        "truncateTable",
        "update",
        "upsert",
    }
)

#: Members of the settings with other capitals.
SETTINGS_MEMBERS: dict[str, str] = {"appUrl": "appURL", "logIp": "logIP"}

#: What stands in texts: addresses and rules.
IN_TEXTS: dict[str, str] = {
    "/api/admins": "/api/collections/_superusers/records, or .../_superusers/auth-with-password to sign in",
    "@request.data.": "@request.body.",
}
