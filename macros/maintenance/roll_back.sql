{#- dbt run-operation roll_back --args '{feed: game_events, timestamp: 2026-03-01 10:00:00}'

    Brings what was loaded of a feed, and every table that depends on it, back to what it was at a
    time (UTC). Prints what that undoes; acts only with confirm, while neither loaders nor an engine
    run. `loaders backfill` then loads the objects of after that time again.

    The books of the loaders decide: a batch that they did not have by then is undone whole, wherever
    its commits stand. Tables of models go back to before that batch was begun. -#}
{%- macro roll_back(feed=none, timestamp=none, confirm=false) -%}
    {%- set feeds = bronze_feeds() -%}
    {%- set own = feeds | selectattr('name', 'equalto', feed) | list -%}
    {%- set bronze = own | map(attribute='relation') | list -%}
    {%- if not bronze -%}
        {%- set names = feeds | map(attribute='name') | unique | join(', ') -%}
        {{- refuse('no feed ' ~ feed ~ ' has a table here; there is ' ~ names) -}}
    {%- elif timestamp is none -%}
        {{- refuse('say the timestamp (UTC) to go back to') -}}
    {%- endif -%}

    {%- set books = [] -%}
    {%- for name in ['ledger', 'quarantine'] -%}
        {%- do books.append(api.Relation.create(schema='bronze', identifier=name)) -%}
    {%- endfor -%}
    {%- set loaded = goals_at(bronze + books, timestamp) -%}
    {%- set last_batch = last_batch_at(books[0], feed, timestamp) -%}
    {#- Models may have read what a batch had written by then that goes whole. -#}
    {%- set begun = begun_at(loaded | rejectattr('relation', 'in', books) | list, last_batch) -%}
    {%- set built = goals_at(incremental_below(bronze), begun or timestamp) -%}
    {%- set steps = (loaded + built) | selectattr('undone', 'gt', 0) | list -%}
    {%- do log('Going back to ' ~ timestamp ~ ' UTC undoes', info=true) -%}
    {%- set rows = [] -%}
    {%- for step in steps -%}
        {%- set what = ' of ' ~ feed if step.relation in books else '' -%}
        {%- do rows.append([step.relation ~ what, step.undone]) -%}
    {%- endfor -%}
    {%- do log_table(['table', 'commits'], rows) -%}
    {%- if not confirm -%}
        {%- do log('Nothing done yet: pass confirm: true to do it', info=true) -%}
        {{- return('') -}}
    {%- endif -%}

    {#- A batch reaches its bronze tables first, then quarantine, the ledger last.
        Every goal is a matter of time: cut short, it is done again and comes to the same. -#}
    {%- for step in steps if step.relation not in books -%}
        {%- if step.goal == -1 -%}
            {%- do run_query('delete from ' ~ step.relation) -%}
        {%- else -%}
            {%- do run_query(
                'restore table ' ~ step.relation ~ ' to version as of ' ~ step.goal
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for relation in bronze -%}
        {%- do run_query('delete from ' ~ relation ~ ' where _batch_id > ' ~ last_batch) -%}
    {%- endfor -%}
    {%- set of_feed = 'feed = ' ~ sql_string(feed) -%}
    {%- for step in steps if step.relation in books -%}
        {%- if step.goal == -1 -%}
            {%- do run_query('delete from ' ~ step.relation ~ ' where ' ~ of_feed) -%}
        {%- else -%}
            {%- do run_query(
                'insert into ' ~ step.relation ~ ' replace where ' ~ of_feed ~ ' select * from '
                ~ step.relation ~ ' version as of ' ~ step.goal ~ ' where ' ~ of_feed
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do run_query(
        'delete from ' ~ books[1] ~ ' where ' ~ of_feed ~ ' and batch_id > ' ~ last_batch
    ) -%}
    {%- do log(
        'Done. Now load again what came since: python -m loaders backfill ' ~ feed
        ~ ' s3://…, then dbt run', info=true
    ) -%}
{%- endmacro -%}
