-- Names of files that are no UTF-8 are stored by other letters: whoever has such a file is compared with its repository as a whole once.
update corpus c set target = head
 where head is not null and target is null and exists (select 1 from indexed_file f where f.corpus = c.id and f.path like '%' || chr(65533) || '%');
