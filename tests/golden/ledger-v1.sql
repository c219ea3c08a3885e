-- A ledger of schema 1 as sentinel 0.1.0 left it: two epochs, seven entries, one personal part. Never edit; add a file per schema.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'ledger','0001-entries-and-epochs','2026-11-22 04:17:26.292533+00:00');
CREATE TABLE entries (
                epoch INTEGER NOT NULL,
                seq INTEGER NOT NULL,
                kind TEXT NOT NULL,
                version INTEGER NOT NULL,
                wall_ns INTEGER NOT NULL,
                boot_ns INTEGER NOT NULL,
                boot_id TEXT NOT NULL,
                trusted INTEGER NOT NULL,
                body TEXT NOT NULL,
                personal BLOB,
                personal_key TEXT,
                personal_sha256 BLOB,
                request TEXT,
                prev BLOB NOT NULL,
                hash BLOB NOT NULL,
                PRIMARY KEY (epoch, seq)
            );
INSERT INTO "entries" VALUES(7532965377,1,'start',1,1795320001000000000,1000000000,'864c5483-efec-446e-9228-49ccb687cb09',0,'{"owner":"gate","previous_epoch":null,"previous_last_seq":null,"version":"0.1.0"}',NULL,NULL,NULL,NULL,X'0000000000000000000000000000000000000000000000000000000000000000',X'0A560ED02D185FCA5E3B140DC4BA34491E3AD462C550339A097CBF674E3B52E2');
INSERT INTO "entries" VALUES(7532965377,2,'passage',1,1795320002000000000,2000000000,'864c5483-efec-446e-9228-49ccb687cb09',1,'{"direction":"in","lane":"1","method":"card","mode":"automatic","outcome":"open","person":"00112233445566778899aabbccddeeff","reasons":["accepted"],"skin_celsius":36.4}',NULL,NULL,NULL,NULL,X'0A560ED02D185FCA5E3B140DC4BA34491E3AD462C550339A097CBF674E3B52E2',X'3F9DD4FC0AD9CBD235344DDC3C95BBF4C92851E69DF9BFBC186770E98C40DA4A');
INSERT INTO "entries" VALUES(7532965377,3,'registration',1,1795320003000000000,3000000000,'864c5483-efec-446e-9228-49ccb687cb09',1,'{"direction":"in","lane":"1","opened":true,"operator":"guard","reason":"visitor","request":"golden-request","written_by":"gate"}',X'01232425262728292A2B2C2D2EF99CBAB4DD4D607F5A40CAA4ACD8AEFC76F4230BA1984FC609CAC858D40F712A5000A5A7','registration/2026-11-22',X'42E53CD67F7B355E13AF71669E8C1800DA6D2028247FAE71E666D23E5A8E78E9','golden-request',X'3F9DD4FC0AD9CBD235344DDC3C95BBF4C92851E69DF9BFBC186770E98C40DA4A',X'53905F12C16DD8BF31B378A31B08E12CC32DD3A137E0111A4E6616A2F5B0FCC5');
INSERT INTO "entries" VALUES(7532965377,4,'stop',1,1795320004000000000,4000000000,'864c5483-efec-446e-9228-49ccb687cb09',1,'{"reason":"update"}',NULL,NULL,NULL,NULL,X'53905F12C16DD8BF31B378A31B08E12CC32DD3A137E0111A4E6616A2F5B0FCC5',X'8C5D5A3C1E545BDA75C2C6B226CC52C6A9A0032517C89278C527BA3B96C7D459');
INSERT INTO "entries" VALUES(8589934594,1,'start',1,1795320005000000000,5000000000,'864c5483-efec-446e-9228-49ccb687cb09',1,'{"owner":"one-shot","previous_epoch":"00000001c0ffee01","previous_last_seq":4,"version":"0.1.0"}',NULL,NULL,NULL,NULL,X'8C5D5A3C1E545BDA75C2C6B226CC52C6A9A0032517C89278C527BA3B96C7D459',X'C75C4233F9E0DFA600EDF2AC6D2F00C9DDA62A263EF90209A4175C541BCF5895');
INSERT INTO "entries" VALUES(8589934594,2,'fault',1,1795320006000000000,6000000000,'864c5483-efec-446e-9228-49ccb687cb09',1,'{"detail":"nothing for 3.0 s","device":"card","symptom":"silent"}',NULL,NULL,NULL,NULL,X'C75C4233F9E0DFA600EDF2AC6D2F00C9DDA62A263EF90209A4175C541BCF5895',X'6E34FC0FCC60FA3E16D757A0932F06DA02A06777775D04831E91B129D29A0139');
INSERT INTO "entries" VALUES(8589934594,3,'stop',1,1795320007000000000,7000000000,'864c5483-efec-446e-9228-49ccb687cb09',1,'{"reason":"done"}',NULL,NULL,NULL,NULL,X'6E34FC0FCC60FA3E16D757A0932F06DA02A06777775D04831E91B129D29A0139',X'254DFB9C3BCE53671ED96A5B0A042E27E63504137506E479731D6A8DB39D934C');
CREATE TABLE epochs (
                counter INTEGER PRIMARY KEY AUTOINCREMENT,
                epoch INTEGER UNIQUE,
                owner TEXT NOT NULL,
                boot_id TEXT NOT NULL,
                wall_ns INTEGER NOT NULL
            );
INSERT INTO "epochs" VALUES(1,7532965377,'gate','864c5483-efec-446e-9228-49ccb687cb09',1795320001000000000);
INSERT INTO "epochs" VALUES(2,8589934594,'one-shot','864c5483-efec-446e-9228-49ccb687cb09',1795320005000000000);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE UNIQUE INDEX entries_request ON entries (request) WHERE request IS NOT NULL;
CREATE TRIGGER entries_are_final
               BEFORE UPDATE OF epoch, seq, kind, version, wall_ns, boot_ns, boot_id, trusted, body,
                   personal_sha256, request, prev, hash ON entries
               BEGIN SELECT RAISE(ABORT, 'an entry is final; what happened next is a second entry'); END;
CREATE TRIGGER personal_parts_only_vanish
               BEFORE UPDATE OF personal, personal_key ON entries
               WHEN NEW.personal IS NOT NULL
               BEGIN SELECT RAISE(ABORT, 'a personal part is emptied or left as it is'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('epochs',2);
COMMIT;
PRAGMA user_version = 1;
