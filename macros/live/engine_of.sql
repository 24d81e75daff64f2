{#- The engine that writes a table as a stream now, none where there is none: dbt may write then.

    An engine leaves its application's id in the table's properties. Where the id is that of the
    Spark which runs this very query, the engine is alive. Where it is another, that engine is
    gone if Spark runs on one machine, because one JVM owns the tables there; on a cluster it may
    be alive, so the table is its own until it lets go or somebody says so (`release_stream`). -#}
{%- macro engine_of(relation) -%}
    {%- set found = namespace(engine=none) -%}
    {%- for row in run_query('show tblproperties ' ~ relation).rows
        if row[0] == 'multihop.stream_of' -%}
        {%- set found.engine = row[1] -%}
    {%- endfor -%}
    {%- if found.engine is not none -%}
        {%- set here = run_query('set spark.app.id').rows[0][1] -%}
        {%- set master = run_query('set spark.master').rows[0][1] -%}
        {%- if found.engine != here and master.startswith('local') -%}
            {%- set found.engine = none -%}
        {%- endif -%}
    {%- endif -%}
    {{- return(found.engine) -}}
{%- endmacro -%}
