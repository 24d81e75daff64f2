{#- A statement as a script that repeats it, after a growing pause, while another writer of its
    table was first (2D521 is the SQL state of all of Delta's conflicts). Any other error, and the
    last conflict, ends it. What Spark's own grammar lacks (OPTIMIZE) goes as a text. -#}
{%- macro retry_conflicts(statement, attempts=6) -%}
    begin
        declare attempt int default 1;
        declare done boolean default false;
        while not done and attempt < {{ attempts }} do
            begin
                declare exit handler for sqlstate '2D521'
                begin
                    select reflect(
                        'java.lang.Thread', 'sleep', cast(500 * attempt * (1 + rand()) as bigint)
                    );
                    set attempt = attempt + 1;
                end;
                {{ statement }};
                set done = true;
            end;
        end while;
        if not done then
            {{ statement }};
        end if;
    end
{%- endmacro -%}
